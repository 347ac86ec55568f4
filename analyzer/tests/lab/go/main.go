// An HTTP server that answers in every way the tests ask for and logs the truth.
//
//	server PORT LOGFILE FILE
//
// It listens on both IPv4 and IPv6 with one socket. Every request becomes one
// JSON line in LOGFILE once it has been answered. The path says what to do:
//
//	/size/N      N bytes with a Content-Length
//	/chunked/N   N bytes in chunks
//	/sleep/MS    an answer after MS milliseconds, client or no client
//	/status/N    status N; a body where the status allows one
//	/hints       103 Early Hints, then 200
//	/echo        the request's body
//	/file        FILE, by sendfile
//	/upgrade     101, then every byte back until the client closes
//	/close       closes without an answer
//	/reset       resets without an answer
//	/abort/N     promises N bytes, sends half, closes
//
// A request that asks for anything else gets 404.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Entry is one line of the log. Bytes are of bodies; times are Unix nanoseconds.
type Entry struct {
	Remote string `json:"remote"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	In     int64  `json:"in"`
	Out    int64  `json:"out"`
	Start  int64  `json:"start"`
	End    int64  `json:"end"`
}

type server struct {
	file string
	mu   sync.Mutex
	log  *json.Encoder
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: server PORT LOGFILE FILE")
	}
	out, err := os.Create(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", ":"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, &server{file: os.Args[3], log: json.NewEncoder(out)}))
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	entry := Entry{Remote: r.RemoteAddr, Method: r.Method, Path: r.URL.Path, Start: time.Now().UnixNano()}
	verb, argument, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	number, _ := strconv.ParseInt(argument, 10, 64)
	// An echo streams; every other handler takes the body first.
	if verb != "echo" && verb != "upgrade" {
		entry.In, _ = io.Copy(io.Discard, r.Body)
	}
	s.answer(w, r, verb, number, &entry)
	entry.End = time.Now().UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.log.Encode(entry); err != nil {
		log.Fatal(err)
	}
}

func (s *server) answer(w http.ResponseWriter, r *http.Request, verb string, number int64, entry *Entry) {
	entry.Status = http.StatusOK
	switch verb {
	case "size":
		w.Header().Set("Content-Length", strconv.FormatInt(number, 10))
		entry.Out = fill(w, number)
	case "chunked":
		for left := number; left > 0; left -= 1000 {
			entry.Out += fill(w, min(left, 1000))
			w.(http.Flusher).Flush()
		}
	case "sleep":
		time.Sleep(time.Duration(number) * time.Millisecond)
		entry.Out = text(w, "slept\n")
	case "status":
		entry.Status = int(number)
		w.WriteHeader(entry.Status)
		if number != 204 && number != 304 {
			entry.Out = text(w, "as asked\n")
		}
	case "hints":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		entry.Out = text(w, "after hints\n")
	case "echo":
		body, _ := io.ReadAll(r.Body)
		entry.In = int64(len(body))
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		n, _ := w.Write(body)
		entry.Out = int64(n)
	case "file":
		if info, err := os.Stat(s.file); err == nil {
			entry.Out = info.Size()
		}
		http.ServeFile(w, r, s.file)
	case "upgrade", "close", "reset", "abort":
		s.takeOver(w, verb, number, entry)
	default:
		entry.Status = http.StatusNotFound
		http.NotFound(w, r)
	}
	if r.Method == http.MethodHead {
		entry.Out = 0
	}
}

// takeOver leaves HTTP: the connection is ours from here on.
func (s *server) takeOver(w http.ResponseWriter, verb string, number int64, entry *Entry) {
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	switch verb {
	case "upgrade":
		entry.Status = http.StatusSwitchingProtocols
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(conn, bufio.NewReader(buffered))
	case "abort":
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", number)
		entry.Out = fill(conn, number/2)
	case "reset":
		entry.Status = 0
		conn.(*net.TCPConn).SetLinger(0)
	case "close":
		entry.Status = 0
	}
}

// fill writes n bytes and says how many went out before the client was gone.
func fill(w io.Writer, n int64) int64 {
	done, _ := io.CopyN(w, letters{}, n)
	return done
}

func text(w io.Writer, body string) int64 {
	n, _ := io.WriteString(w, body)
	return int64(n)
}

// letters is an endless body in which no HTTP head can be mistaken.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a' + byte(i%26)
	}
	return len(p), nil
}
