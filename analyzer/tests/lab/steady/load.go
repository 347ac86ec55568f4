package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// answer is one row of the client's log.
type answer struct {
	due, sent, done int64
	port, status    int
}

// client is an open loop: a request is due at its time, whatever became of the ones before it.
type client struct {
	address string
	timeout time.Duration
	// Every request is made on a connection of its own.
	fresh bool
	idle  chan *connection
	mu    sync.Mutex
	rows  []answer
}

type connection struct {
	conn   net.Conn
	reader *bufio.Reader
	port   int
}

// most connections at a time.
const most = 4096

func load(address string, rate, connections, seconds, timeoutMs int64, file string) {
	c := &client{address: address, timeout: time.Duration(timeoutMs) * time.Millisecond, idle: make(chan *connection, most)}
	c.fresh = connections == 0
	c.rows = make([]answer, 0, rate*seconds)
	for range connections {
		if conn := c.dial(); conn != nil {
			c.idle <- conn
		}
		time.Sleep(5 * time.Millisecond)
	}
	// Whoever waits for this line knows that all connections are open.
	fmt.Println("loading")
	var inFlight sync.WaitGroup
	step := int64(time.Second) / rate
	begin := bootNs()
	for nth := range rate * seconds {
		due := begin + nth*step
		if wait := due - bootNs(); wait > 0 {
			time.Sleep(time.Duration(wait))
		}
		inFlight.Add(1)
		go func() {
			defer inFlight.Done()
			c.request(due)
		}()
	}
	inFlight.Wait()
	c.save(file)
}

// request makes one, on a new connection where all are busy.
func (c *client) request(due int64) {
	var conn *connection
	select {
	case conn = <-c.idle:
	default:
		conn = c.dial()
	}
	row := answer{due: due, sent: bootNs()}
	if conn != nil {
		row.port = conn.port
		row.status = conn.exchange(c.timeout)
	}
	row.done = bootNs()
	if row.status > 0 && !c.fresh {
		c.idle <- conn
	} else if conn != nil {
		conn.conn.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows = append(c.rows, row)
}

func (c *client) dial() *connection {
	conn, err := net.DialTimeout("tcp", c.address, 5*time.Second)
	if err != nil {
		log.Print(err)
		return nil
	}
	return &connection{conn: conn, reader: bufio.NewReader(conn), port: conn.LocalAddr().(*net.TCPAddr).Port}
}

// exchange returns the status, or 0 where none came in time.
func (c *connection) exchange(timeout time.Duration) int {
	c.conn.SetDeadline(time.Now().Add(timeout))
	if _, err := io.WriteString(c.conn, "GET /items HTTP/1.1\r\nHost: shop\r\n\r\n"); err != nil {
		return 0
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0
	}
	return response.StatusCode
}

func (c *client) save(file string) {
	out, err := os.Create(file)
	if err != nil {
		log.Fatal(err)
	}
	buffered := bufio.NewWriter(out)
	for _, row := range c.rows {
		fmt.Fprintln(buffered, row.due, row.sent, row.done, row.port, row.status)
	}
	if err := buffered.Flush(); err != nil {
		log.Fatal(err)
	}
}
