module retrospan.test/server

go 1.26
