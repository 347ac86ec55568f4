package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// teeth are the times phase, phase+period ... of CLOCK_BOOTTIME; at each of them something lasts for length.
type teeth struct{ period, phase, length time.Duration }

// left is how long the present tooth lasts from now on; 0 between two of them.
func (t teeth) left() time.Duration {
	since := (time.Duration(bootNs()) - t.phase) % t.period
	if since < 0 {
		since += t.period
	}
	return max(t.length-since, 0)
}

// next sleeps until a tooth begins.
func (t teeth) next() {
	since := (time.Duration(bootNs()) - t.phase) % t.period
	time.Sleep(t.period - since)
}

// sufferer is a shop that has one weakness.
type sufferer struct {
	teeth
	weakness, where string
	// Held while something keeps all requests waiting.
	snapshot sync.RWMutex
	mu       sync.Mutex
	open     map[net.Conn]bool
	body     []byte
}

func suffer(port, weakness string, t teeth, where string) {
	s := &sufferer{teeth: t, weakness: weakness, where: where, open: map[net.Conn]bool{}, body: make([]byte, 500)}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		log.Fatal(err)
	}
	switch weakness {
	case "snapshot":
		go s.write()
	case "reload":
		go s.reload()
	}
	server := http.Server{Handler: s, ConnState: s.note}
	log.Fatal(server.Serve(pausing{listener, s}))
}

func (s *sufferer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.snapshot.RLock()
	defer s.snapshot.RUnlock()
	switch s.weakness {
	case "resolver":
		ask(s.where)
	case "reload":
		// So that some connections are open at any time.
		time.Sleep(70 * time.Millisecond)
	}
	w.Write(s.body)
}

// pausing accepts nothing in a tooth, where that is the weakness.
type pausing struct {
	net.Listener
	s *sufferer
}

func (p pausing) Accept() (net.Conn, error) {
	if p.s.weakness == "backlog" || p.s.weakness == "reload" {
		time.Sleep(p.s.left())
	}
	return p.Listener.Accept()
}

func (s *sufferer) note(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(s.open, conn)
	default:
		s.open[conn] = true
	}
}

// reload closes all connections at every tooth, as a server does that ends its workers.
func (s *sufferer) reload() {
	for {
		s.next()
		s.mu.Lock()
		for conn := range s.open {
			conn.Close()
		}
		s.mu.Unlock()
	}
}

// write writes at every tooth until that is over, and more than its group may hold. How long a call takes is up to the kernel.
func (s *sufferer) write() {
	block := make([]byte, 1<<20)
	for {
		s.next()
		s.snapshot.Lock()
		out, err := os.Create(s.where)
		if err != nil {
			log.Fatal(err)
		}
		for s.left() > 0 {
			if _, err := out.Write(block); err != nil {
				log.Fatal(err)
			}
		}
		out.Close()
		os.Remove(s.where)
		s.snapshot.Unlock()
	}
}

// ask sends a question and waits for the answer, as resolvers do: half a second, then the question is sent again.
func ask(address string) {
	conn, err := net.Dial("udp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, 512)
	for range 10 {
		conn.Write(make([]byte, 40))
		conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := conn.Read(answer); err == nil {
			return
		}
	}
}

// resolve answers every question, but reads none in a tooth. Its receive buffer holds few.
func resolve(port string, t teeth) {
	small := func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1) })
	}
	config := net.ListenConfig{Control: small}
	conn, err := config.ListenPacket(context.Background(), "udp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	question := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(question)
		if err != nil {
			log.Fatal(err)
		}
		time.Sleep(t.left())
		conn.WriteTo(question[:n], from)
	}
}

// flood sends datagrams to a port of this host for ms milliseconds: each of them is received within the call that sends it.
func flood(port string, ms int64) {
	conn, err := net.Dial("udp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	datagram := make([]byte, 64)
	for end := time.Now().Add(time.Duration(ms) * time.Millisecond); time.Now().Before(end); {
		conn.Write(datagram)
	}
}

// hog writes to the disk past the page cache for ms milliseconds, from several threads into a file each: unlike storm it
// keeps the disk busy from its first moment on.
func hog(file string, ms int64) {
	const writers = 8
	end := time.Now().Add(time.Duration(ms) * time.Millisecond)
	var done sync.WaitGroup
	for writer := range writers {
		done.Add(1)
		go func() {
			defer done.Done()
			name := file + "." + strconv.Itoa(writer)
			out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|syscall.O_DIRECT|syscall.O_DSYNC, 0o600)
			if err != nil {
				log.Fatal(err)
			}
			defer os.Remove(name)
			// Mapped memory is aligned as the disk wants it.
			block, err := syscall.Mmap(-1, 0, 4<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
			if err != nil {
				log.Fatal(err)
			}
			for time.Now().Before(end) {
				if _, err := out.WriteAt(block, 0); err != nil {
					log.Fatal(err)
				}
			}
			out.Close()
		}()
	}
	done.Wait()
}
