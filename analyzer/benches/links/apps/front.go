// A front in Go with a transport's pool: front PORT BACKEND_PORT. Asks A, then B.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	transport := http.DefaultTransport.(*http.Transport)
	transport.MaxIdleConnsPerHost = 256
	ask := func(path, truth string) {
		request, err := http.NewRequest("GET", "http://127.0.0.1:"+os.Args[2]+path, nil)
		if err != nil {
			log.Fatal(err)
		}
		request.Header.Set("X-Truth", truth)
		answer, err := transport.RoundTrip(request)
		if err != nil {
			log.Print(err)
			return
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	http.HandleFunc("/", func(w http.ResponseWriter, request *http.Request) {
		truth := request.Header.Get("X-Truth")
		ask("/a", truth)
		ask("/b", truth)
		w.Write([]byte("done"))
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
