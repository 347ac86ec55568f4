// The programs of a run under steady load, each started under a name of its own.
//
//	NAME load ADDRESS RATE CONNECTIONS SECONDS TIMEOUT_MS LOGFILE
//	NAME serve PORT LOGFILE plain|dsync WORK_US PERIOD_MS PHASE_MS SLEEP_MS
//	NAME spin THREADS MS
//	NAME storm FILE MS
//	NAME suffer PORT backlog|resolver|snapshot|reload|nothing PERIOD_MS PHASE_MS LENGTH_MS FILE|ADDRESS
//	NAME resolve PORT PERIOD_MS PHASE_MS LENGTH_MS
//	NAME flood PORT MS
//	NAME hog FILE MS
//
// A load with no connections makes a new one for every request.
// Times in the logs are CLOCK_BOOTTIME in nanoseconds.
package main

import (
	"log"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	arguments := os.Args[1:]
	counts := map[string]int{"load": 6, "serve": 7, "spin": 2, "storm": 2, "suffer": 6, "resolve": 4, "flood": 2, "hog": 2}
	if len(arguments) == 0 || counts[arguments[0]] == 0 || len(arguments) != counts[arguments[0]]+1 {
		log.Fatal("usage: see the source")
	}
	verb, rest := arguments[0], arguments[1:]
	switch verb {
	case "load":
		load(rest[0], number(rest[1]), number(rest[2]), number(rest[3]), number(rest[4]), rest[5])
	case "serve":
		serve(rest[0], rest[1], rest[2] == "dsync", number(rest[3]), number(rest[4]), number(rest[5]), number(rest[6]))
	case "spin":
		spin(number(rest[0]), number(rest[1]))
	case "storm":
		storm(rest[0], number(rest[1]))
	case "suffer":
		suffer(rest[0], rest[1], teeth{ms(number(rest[2])), ms(number(rest[3])), ms(number(rest[4]))}, rest[5])
	case "resolve":
		resolve(rest[0], teeth{ms(number(rest[1])), ms(number(rest[2])), ms(number(rest[3]))})
	case "flood":
		flood(rest[0], number(rest[1]))
	case "hog":
		hog(rest[0], number(rest[1]))
	}
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	return n
}

// bootNs is CLOCK_BOOTTIME.
func bootNs() int64 {
	const clockBoottime = 7
	var now syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&now)), 0)
	if errno != 0 {
		log.Fatal(errno)
	}
	return now.Nano()
}

// spin keeps that many threads running for ms milliseconds.
func spin(threads, ms int64) {
	runtime.GOMAXPROCS(int(threads))
	end := time.Now().Add(time.Duration(ms) * time.Millisecond)
	done := make(chan bool)
	for range threads {
		go func() {
			runtime.LockOSThread()
			for time.Now().Before(end) {
			}
			done <- true
		}()
	}
	for range threads {
		<-done
	}
}

// storm writes 64 MiB and syncs, again and again for ms milliseconds, from several threads into a file each.
func storm(file string, ms int64) {
	const writers = 8
	end := time.Now().Add(time.Duration(ms) * time.Millisecond)
	done := make(chan bool)
	for writer := range writers {
		go func() {
			out, err := os.Create(file + "." + strconv.Itoa(writer))
			if err != nil {
				log.Fatal(err)
			}
			block := make([]byte, 64<<20)
			for time.Now().Before(end) {
				if _, err := out.WriteAt(block, 0); err != nil {
					log.Fatal(err)
				}
				out.Sync()
			}
			out.Close()
			os.Remove(out.Name())
			done <- true
		}()
	}
	for range writers {
		<-done
	}
}
