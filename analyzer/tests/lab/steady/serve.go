package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// shop answers every request with 2000 bytes and a line in its log.
type shop struct {
	mu   sync.Mutex
	log  *os.File
	work time.Duration
	// Requests that arrive within slow milliseconds after phase, phase+period ... sleep for slow milliseconds.
	period, phase, slow time.Duration
	body                []byte
}

func serve(port, file string, dsync bool, workUs, periodMs, phaseMs, sleepMs int64) {
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if dsync {
		flags |= syscall.O_DSYNC
	}
	out, err := os.OpenFile(file, flags, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	s := &shop{log: out, work: time.Duration(workUs) * time.Microsecond, body: make([]byte, 2000)}
	s.period, s.phase, s.slow = ms(periodMs), ms(phaseMs), ms(sleepMs)
	for i := range s.body {
		s.body[i] = 'a' + byte(i%26)
	}
	log.Fatal(http.ListenAndServe(":"+port, s))
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	arrived := bootNs()
	if s.slow > 0 && (time.Duration(arrived)-s.phase)%s.period < s.slow {
		time.Sleep(s.slow)
	}
	for end := time.Now().Add(s.work); time.Now().Before(end); {
	}
	s.note(fmt.Sprintln(arrived, r.RemoteAddr, r.URL.Path))
	w.Header().Set("Content-Length", strconv.Itoa(len(s.body)))
	w.Write(s.body)
}

// note writes before the answer goes out: who syncs the log makes the client wait for the disk.
func (s *shop) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.log.WriteString(line); err != nil {
		log.Fatal(err)
	}
}
