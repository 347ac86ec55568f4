module tls

go 1.26
