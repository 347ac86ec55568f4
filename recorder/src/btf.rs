//! Where the running kernel keeps the struct fields that the kernel programs read.
