//! `comb(times, shortest_period_s)`: the comb that fits some times best, and what it is worth.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StructArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type, TimeUnit};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{Accumulator, AggregateUDF, Volatility, create_udaf};

use super::Recording;
use crate::periodicity::comb::Grid;
use crate::periodicity::refine::refine;
use crate::periodicity::scales::Scales;

/// Seed of the Monte Carlo.
const SEED: u64 = 0x636f_6d62;
/// The probability that matters.
const LEVEL: f64 = 0.01;
/// More times than these are no episodes.
const MOST_TIMES: usize = 2000;

/// The aggregate function. It gives a struct of `period_s`, `period_low_s`, `period_high_s`, `jitter_s`, `llr`, `fap`, `hits`,
/// `cycles` and `first_tooth` (UTC); null for fewer than three times, and more than two thousand.
pub fn comb(recording: Recording) -> AggregateUDF {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    create_udaf(
        "comb",
        vec![time, DataType::Float64],
        Arc::new(DataType::Struct(fields())),
        Volatility::Immutable,
        Arc::new(move |_| Ok(Box::new(Times { recording, times_ns: Vec::new(), shortest_s: None }))),
        Arc::new(vec![DataType::new_list(DataType::Int64, true), DataType::Float64]),
    )
}

fn fields() -> Fields {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let whole = |name: &str| Field::new(name, DataType::Int64, true);
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    Fields::from(vec![
        number("period_s"),
        number("period_low_s"),
        number("period_high_s"),
        number("jitter_s"),
        number("llr"),
        number("fap"),
        whole("hits"),
        whole("cycles"),
        Field::new("first_tooth", time, true),
    ])
}

#[derive(Debug)]
struct Times {
    recording: Recording,
    times_ns: Vec<i64>,
    shortest_s: Option<f64>,
}

impl Accumulator for Times {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let times = cast(&values[0], &DataType::Int64)?;
        self.times_ns.extend(times.as_primitive::<Int64Type>().iter().flatten());
        let shortest = values[1].as_primitive::<Float64Type>();
        if let Some(wrong) = shortest.iter().flatten().find(|s| !(s.is_finite() && *s > 0.0)) {
            return exec_err!("comb(times, shortest_period_s): {wrong} s is no period");
        }
        self.shortest_s = self.shortest_s.or_else(|| shortest.iter().flatten().next());
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for times in states[0].as_list::<i32>().iter().flatten() {
            self.times_ns.extend(times.as_primitive::<Int64Type>().iter().flatten());
        }
        let shortest = states[1].as_primitive::<Float64Type>();
        self.shortest_s = self.shortest_s.or_else(|| shortest.iter().flatten().next());
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let times: ArrayRef = Arc::new(Int64Array::from(self.times_ns.clone()));
        let list = SingleRowListArrayBuilder::new(times).build_list_scalar();
        Ok(vec![list, ScalarValue::Float64(self.shortest_s)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let found = self.found();
        let number = |value: fn(&Fit) -> f64| {
            Arc::new(Float64Array::from(vec![found.as_ref().map(value)])) as ArrayRef
        };
        let whole =
            |value: fn(&Fit) -> i64| Arc::new(Int64Array::from(vec![found.as_ref().map(value)])) as ArrayRef;
        let fields = fields();
        let columns = vec![
            number(|fit| fit.period_s),
            number(|fit| fit.period_s - fit.margin_s),
            number(|fit| fit.period_s + fit.margin_s),
            number(|fit| fit.jitter_s),
            number(|fit| fit.llr),
            number(|fit| fit.fap),
            whole(|fit| fit.hits),
            whole(|fit| fit.cycles),
            cast(&whole(|fit| fit.first_tooth_ns), fields[8].data_type())?,
        ];
        Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(fields, columns, None)?)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.times_ns.capacity() * size_of::<i64>()
    }
}

struct Fit {
    period_s: f64,
    margin_s: f64,
    jitter_s: f64,
    llr: f64,
    fap: f64,
    hits: i64,
    cycles: i64,
    first_tooth_ns: i64,
}

impl Times {
    fn found(&self) -> Option<Fit> {
        let Recording { begin_ns, end_ns } = self.recording;
        let mut times: Vec<f64> = self.times_ns.iter().map(|&ns| (ns - begin_ns) as f64).collect();
        if times.len() > MOST_TIMES {
            return None;
        }
        times.sort_unstable_by(f64::total_cmp);
        let horizon_ns = (end_ns - begin_ns).max(1);
        let shortest_ns = (self.shortest_s.unwrap_or(10.0).max(1e-3) * 1e9) as i64;
        let resolution_ns = (shortest_ns / 100).clamp(1_000_000, 100_000_000);
        let grid = Grid::new(horizon_ns, shortest_ns, resolution_ns);
        let (comb, alarm) = Scales::search(&times, &grid).surest(&times, &[], SEED, LEVEL)?;
        let refined = refine(&comb, &times, horizon_ns, resolution_ns);
        Some(Fit {
            period_s: refined.period_ns * 1e-9,
            margin_s: refined.period_margin_ns * 1e-9,
            jitter_s: refined.jitter_ns * 1e-9,
            llr: comb.llr,
            fap: alarm.p,
            hits: comb.hits.len() as i64,
            cycles: refined.cycles.len() as i64,
            first_tooth_ns: begin_ns + refined.cycles.first().map_or(0, |cycle| cycle.expected_ns as i64),
        })
    }
}
