//! `spikes` on real recordings of a chain under steady load, with a cause injected every five seconds or none.
//! Every run shows first, by the client's own figures, that it is as it was meant to be.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::lab::causes::{self, Cause, Rhythm, SHORT};
use crate::lab::check::none_of;
use crate::lab::ebpf_or_skip;
use crate::lab::judge::{Contrast, Verdict, given_up};

/// One run at a time: each is what disturbs its own chain, and none the other's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_backend_that_stops_every_five_seconds_is_named() {
    let Some(_turn) = ebpf_or_skip("a_backend_that_stops_every_five_seconds_is_named") else { return };
    let _alone = alone();
    let run = causes::run(Cause::Stop, SHORT);
    let contrast = Contrast::of(&run.injected, &run.answers);
    assert!(contrast.inside.iter().all(|&slow| slow >= 10), "{contrast:?}");
    none_of("the finding", &Verdict::of(&run).wrong);
}

#[test]
fn nothing_is_found_where_nothing_was_done() {
    let Some(_turn) = ebpf_or_skip("nothing_is_found_where_nothing_was_done") else { return };
    let _alone = alone();
    let run = causes::run(Cause::Nothing, SHORT);
    let answered = run.answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((answered, run.injected.len()), (run.answers.len(), 0));
    none_of("findings", &Verdict::of(&run).wrong);
}

/// Our spans and the log of an Envoy that understands HTTP name the same requests.
#[test]
fn clients_that_give_up_in_every_burst_are_those_of_the_edges_log() {
    let Some(_turn) = ebpf_or_skip("clients_that_give_up_in_every_burst_are_those_of_the_edges_log") else {
        return;
    };
    let _alone = alone();
    let run = causes::run(Cause::Quit, Rhythm { cycles: 3, ..SHORT });
    none_of("clients that gave up", &given_up(&run));
}
