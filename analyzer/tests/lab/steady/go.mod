module retrospan.test/steady

go 1.26
