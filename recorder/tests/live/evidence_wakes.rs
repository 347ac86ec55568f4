//! Table `wakes`: who woke the thread that sends, and what received data that follows from.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, numbers, only, rows, with};
use retrospan_formats::reader::Capture;
use retrospan_formats::tables;

const ROUNDS: usize = 20;

fn record(place: &Place, evidence: &str) -> Recorder {
    let own = std::process::id().to_string();
    Recorder::start(place.path("wakes.cap"), &["--pid", &own, "--evidence", evidence])
}

fn own_tid() -> i64 {
    // SAFETY: no arguments.
    i64::from(unsafe { libc::gettid() })
}

/// Waits until a thread of this process sleeps.
fn await_sleep(tid: i64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
        if stat.rsplit_once(") ").unwrap().1.starts_with('S') {
            return;
        }
        assert!(Instant::now() < deadline, "{tid} never slept: {stat}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// A thread that does `step` for each thing that it is sent, until nothing more can come. Returns once it waits for the first one.
fn worker(mut step: impl FnMut() + Send + 'static) -> (Sender<()>, i64, JoinHandle<()>) {
    let (work, todo): (Sender<()>, Receiver<()>) = channel();
    let (say, said) = channel();
    let thread = std::thread::spawn(move || {
        say.send(own_tid()).unwrap();
        todo.iter().for_each(|()| step());
    });
    let tid = said.recv().unwrap();
    await_sleep(tid);
    (work, tid, thread)
}

/// What the sends of a thread say, in their order.
struct Told {
    sends: usize,
    wakes: RecordBatch,
}

impl Told {
    fn of(capture: &Capture, tid: i64) -> Told {
        let sends = with(&only(&rows(capture, &tables::EVENTS), "kind", "send"), "tid", tid);
        let wakes = with(&rows(capture, &tables::WAKES), "tid", tid);
        let times = numbers(&sends, "boot_ns");
        assert!(numbers(&wakes, "boot_ns").iter().all(|time| times.contains(time)), "each is of a send");
        Told { sends: sends.num_rows(), wakes }
    }

    fn column(&self, name: &str) -> Vec<i64> {
        numbers(&self.wakes, name).into_iter().flatten().collect()
    }
}

/// Rounds of: one thread receives, `between` others pass that on, and another thread sends. Returns the tid of the first, those in
/// between and the last.
fn passed_on(between: usize) -> Vec<i64> {
    let (mut asks, mut asked) = connection();
    let (mut answers, mut answered) = connection();
    let (next, tid, thread) = worker(move || answers.write_all(b"y").unwrap());
    let (mut next, mut tids, mut threads) = (next, vec![tid], vec![thread]);
    for _ in 0..between {
        let (work, tid, thread) = worker(move || next.send(()).unwrap());
        (next, tids) = (work, [vec![tid], tids].concat());
        threads.push(thread);
    }
    let (say, said) = channel();
    threads.push(std::thread::spawn(move || {
        say.send(own_tid()).unwrap();
        for _ in 0..ROUNDS {
            asked.read_exact(&mut [0]).unwrap();
            next.send(()).unwrap();
        }
    }));
    let first = said.recv().unwrap();
    for _ in 0..ROUNDS {
        tids.iter().chain([&first]).for_each(|&tid| await_sleep(tid));
        asks.write_all(b"x").unwrap();
        answered.read_exact(&mut [0]).unwrap();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    [vec![first], tids].concat()
}

#[test]
fn a_send_says_who_woke_its_thread_and_what_that_one_had_received() {
    let Some(_turn) = ebpf_or_skip("a_send_says_who_woke_its_thread_and_what_that_one_had_received") else {
        return;
    };
    let place = Place::new();
    let recorder = record(&place, "wakes");
    let straight = passed_on(0);
    let around = passed_on(2);
    let capture = recorder.finish();
    for tids in [straight, around] {
        let (first, last, hops) = (tids[0], tids[tids.len() - 1], tids.len() as i64 - 1);
        let told = Told::of(&capture, last);
        assert_eq!(told.sends, ROUNDS);
        assert_eq!(told.column("by_tid"), [tids[tids.len() - 2]; ROUNDS]);
        assert_eq!(told.column("received_tid"), [first; ROUNDS]);
        assert_eq!(told.column("wake_ups"), [hops; ROUNDS]);
        let received = with(&only(&rows(&capture, &tables::EVENTS), "kind", "receive"), "tid", first);
        let times: Vec<i64> = numbers(&received, "boot_ns").into_iter().flatten().collect();
        assert_eq!(told.column("received_boot_ns"), times, "the receive of the same round");
        let (woken, sent) = (told.column("woken_boot_ns"), told.column("boot_ns"));
        for round in 0..ROUNDS {
            assert!(times[round] < woken[round] && woken[round] < sent[round], "round {round}");
        }
        let process = with(&rows(&capture, &tables::PROCESSES), "pid", std::process::id().into());
        assert!(
            numbers(&told.wakes, "process_id").iter().all(|id| *id == numbers(&process, "process_id")[0])
        );
    }
}

#[test]
fn a_thread_follows_from_the_one_that_made_it() {
    let Some(_turn) = ebpf_or_skip("a_thread_follows_from_the_one_that_made_it") else { return };
    let place = Place::new();
    let recorder = record(&place, "wakes");
    let (mut asks, mut asked) = connection();
    let threads = std::thread::spawn(move || {
        asked.read_exact(&mut [0]).unwrap();
        let made = std::thread::spawn(move || {
            asked.write_all(b"y").unwrap();
            own_tid()
        });
        (own_tid(), made.join().unwrap())
    });
    asks.write_all(b"x").unwrap();
    asks.read_exact(&mut [0]).unwrap();
    let (maker, made) = threads.join().unwrap();
    let told = Told::of(&recorder.finish(), made);
    assert_eq!((told.column("by_tid"), told.column("received_tid")), (vec![maker], vec![maker]));
    assert_eq!(told.column("wake_ups"), [1]);
}

/// Puts a thread on the first CPU that this process may use.
fn pin() {
    // SAFETY: a CPU set is plain bits; the kernel writes and reads at most its size.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut allowed), 0);
        let first = (0..libc::CPU_SETSIZE as usize).find(|&cpu| libc::CPU_ISSET(cpu, &allowed)).unwrap();
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(first, &mut one);
        assert_eq!(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &one), 0);
    }
}

/// A thread that receives, and then works without a system call until it is told to stop.
fn busy() -> (JoinHandle<()>, Arc<AtomicBool>) {
    let (mut asks, mut asked) = connection();
    asks.write_all(b"x").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || {
        pin();
        asked.read_exact(&mut [0]).unwrap();
        while !stopped.load(Relaxed) {
            std::hint::spin_loop();
        }
    });
    (thread, stop)
}

#[test]
fn interrupts_and_other_processes_are_nobody() {
    let Some(_turn) = ebpf_or_skip("interrupts_and_other_processes_are_nobody") else { return };
    let place = Place::new();
    let recorder = record(&place, "wakes");
    // Each of the two has received, and its send wakes the other: in a soft interrupt, on top of it.
    let (mut client, mut server) = connection();
    let echo = std::thread::spawn(move || {
        for _ in 0..ROUNDS * 10 {
            server.read_exact(&mut [0]).unwrap();
            server.write_all(b"y").unwrap();
        }
        own_tid()
    });
    let asking = std::thread::spawn(move || {
        for _ in 0..ROUNDS * 10 {
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        own_tid()
    });
    // The timer of this one ends in an interrupt on top of the other, which does nothing else.
    let (busy, stop) = busy();
    let timer = std::thread::spawn(move || {
        pin();
        let (mut client, _server) = connection();
        for _ in 0..ROUNDS * 10 {
            std::thread::sleep(Duration::from_micros(500));
            client.write_all(b"x").unwrap();
        }
        own_tid()
    });
    // Another process writes into a pipe.
    let mut ticks = std::process::Command::new("sh")
        .args(["-c", &format!("for i in $(seq {ROUNDS}); do sleep 0.01; echo; done")])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = ticks.stdout.take().unwrap();
    let other = std::thread::spawn(move || {
        let (mut client, _server) = connection();
        for _ in 0..ROUNDS {
            pipe.read_exact(&mut [0]).unwrap();
            client.write_all(b"x").unwrap();
        }
        own_tid()
    });
    // Not before: whoever waits for a thread's end is woken by it, and passes that on to the threads that it makes.
    let tids = [echo, asking, timer, other].map(|thread| thread.join().unwrap());
    stop.store(true, Relaxed);
    busy.join().unwrap();
    ticks.wait().unwrap();
    let capture = recorder.finish();
    for (tid, sends) in tids.into_iter().zip([10, 10, 10, 1]) {
        let told = Told::of(&capture, tid);
        assert_eq!((told.sends, told.column("by_tid")), (ROUNDS * sends, vec![]));
    }
}

#[test]
fn wake_ups_are_not_told_where_nobody_asked() {
    let Some(_turn) = ebpf_or_skip("wake_ups_are_not_told_where_nobody_asked") else { return };
    let place = Place::new();
    let recorder = record(&place, "tcp,sched,usage,execs,arrivals");
    passed_on(1);
    assert_eq!(rows(&recorder.finish(), &tables::WAKES).num_rows(), 0);
}
