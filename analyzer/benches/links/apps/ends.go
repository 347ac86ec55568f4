// Both ends of the bench. `ends backend PORT LOG` answers after 1 to 4 ms; `ends load PORT LOG CONNECTIONS REQUESTS THINK_MS`
// asks, each request with a number of its own in X-Truth. LOG has a line a request: the client's port, how many requests came
// before on that connection, the number.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var (
	out   *bufio.Writer
	outMu sync.Mutex
)

func note(address net.Addr, number int, truth string) {
	outMu.Lock()
	fmt.Fprintf(out, "%d\t%d\t%s\n", address.(*net.TCPAddr).Port, number, truth)
	out.Flush()
	outMu.Unlock()
}

func serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for number := 0; ; number++ {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		note(conn.RemoteAddr(), number, request.Header.Get("X-Truth"))
		time.Sleep(time.Duration(1000+rand.Intn(3000)) * time.Microsecond)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n%0300d", 0)
	}
}

func backend() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conn)
	}
}

func number(at int) int {
	value, err := strconv.Atoi(os.Args[at])
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func load() {
	connections, requests, think := number(4), int64(number(5)), time.Duration(number(6))*time.Millisecond
	var made atomic.Int64
	var done sync.WaitGroup
	for range connections {
		done.Add(1)
		go func() {
			defer done.Done()
			for made.Load() < requests {
				ask(&made, requests, think)
			}
		}()
	}
	done.Wait()
}

// ask makes requests on one connection until it is closed or all are made.
func ask(made *atomic.Int64, requests int64, think time.Duration) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for k := 0; ; k++ {
		id := made.Add(1)
		if id > requests {
			return
		}
		truth := fmt.Sprintf("%07d", id)
		note(conn.LocalAddr(), k, truth)
		fmt.Fprintf(conn, "GET /x HTTP/1.1\r\nHost: front\r\nX-Truth: %s\r\n\r\n", truth)
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		if answer.Close {
			return
		}
		if think > 0 {
			time.Sleep(time.Duration(rand.Int63n(int64(2 * think))))
		}
	}
}

func main() {
	file, err := os.Create(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	out = bufio.NewWriter(file)
	if os.Args[1] == "backend" {
		backend()
	} else {
		load()
	}
}
