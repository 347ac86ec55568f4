// An HTTPS server and its client in Go.
//
//	tls serve PORT CERTIFICATE KEY LOG        one line in LOG for each request that was answered
//	tls ask PORT CERTIFICATE KEY COUNT        COUNT requests, 8 at a time, by HTTP/1.1 and by HTTP/2
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

func main() {
	log.SetFlags(0)
	port, certificate, key := os.Args[2], os.Args[3], os.Args[4]
	if os.Args[1] == "serve" {
		serve(port, certificate, key, os.Args[5])
		return
	}
	count, err := strconv.Atoi(os.Args[5])
	if err != nil {
		log.Fatal(err)
	}
	for _, http2 := range []bool{false, true} {
		ask(port, certificate, http2, count)
	}
}

func serve(port, certificate, key, name string) {
	file, err := os.Create(name)
	if err != nil {
		log.Fatal(err)
	}
	var lock sync.Mutex
	handler := func(w http.ResponseWriter, r *http.Request) {
		body := "small"
		if strings.HasPrefix(r.URL.Path, "/large") {
			body = strings.Repeat("x", 300_000)
		}
		// What is on a goroutine's stack is moved as it grows.
		deep(64)
		io.WriteString(w, body)
		lock.Lock()
		defer lock.Unlock()
		fmt.Fprintf(file, "%d %s %s\n", r.ProtoMajor, r.Method, r.URL.Path)
	}
	log.Fatal(http.ListenAndServeTLS("127.0.0.1:"+port, certificate, key, http.HandlerFunc(handler)))
}

func deep(n int) byte {
	var room [1024]byte
	room[n] = byte(n)
	if n == 0 {
		return room[0]
	}
	return deep(n-1) + room[n]
}

func ask(port, certificate string, http2 bool, count int) {
	pem, err := os.ReadFile(certificate)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: http2, MaxIdleConnsPerHost: 8}
	client := &http.Client{Transport: transport}
	var all sync.WaitGroup
	// Frames of streams that share a call are not all kept: by HTTP/2 one after the other, and small.
	workers, paths := 8, []string{"/a", "/large", "/b"}
	if http2 {
		workers, paths = 1, []string{"/a", "/b"}
	}
	for worker := range workers {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := worker; n < count; n += workers {
				path := paths[n%len(paths)]
				answer, err := client.Get("https://localhost:" + port + path)
				if err != nil {
					log.Fatal(err)
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
		}()
	}
	all.Wait()
	transport.CloseIdleConnections()
}
