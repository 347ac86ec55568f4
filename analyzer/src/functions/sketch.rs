//! Latencies counted in buckets: histograms to look at, and sketches whose quantiles are right to one percent.
//!
//! Both are lists of `{bucket, low_ns, high_ns, count}`, so that SQL can unnest them; sketches of parts add up
//! (`sketch_merge`). Buckets grow geometrically, as in DDSketch (Masson, Rim and Lee, VLDB 2019).

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, ColumnarValue, ScalarUDF, Volatility, create_udaf, create_udf,
};

/// Buckets of a histogram to a doubling.
const HISTOGRAM: f64 = 4.0;
/// Buckets of a sketch to a doubling: quantiles are off by one percent at most.
const SKETCH: f64 = 35.0;

/// `latency_histogram(duration_ns)`: counts in buckets a quarter of a doubling wide.
pub fn latency_histogram() -> AggregateUDF {
    counting("latency_histogram", DataType::Int64, HISTOGRAM)
}

/// `latency_sketch(duration_ns)`: the same, fine enough for quantiles.
pub fn latency_sketch() -> AggregateUDF {
    counting("latency_sketch", DataType::Int64, SKETCH)
}

/// `sketch_merge(sketch)`: adds sketches, or histograms, up.
pub fn sketch_merge() -> AggregateUDF {
    counting("sketch_merge", buckets_type(), SKETCH)
}

/// `sketch_quantile(sketch, q)`: the latency in ns that a share `q` of the requests does not exceed; null for no requests.
pub fn sketch_quantile() -> ScalarUDF {
    let quantiles = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let (sketches, shares) = (arrays[0].as_list::<i32>(), arrays[1].as_primitive::<Float64Type>());
        let quantile = |row: usize| {
            let counts = sketches.is_valid(row).then(|| counts(sketches, row))?;
            shares.is_valid(row).then(|| quantile(&counts, shares.value(row)))?
        };
        let values: Float64Array = (0..sketches.len()).map(quantile).collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    };
    create_udf(
        "sketch_quantile",
        vec![buckets_type(), DataType::Float64],
        DataType::Float64,
        Volatility::Immutable,
        Arc::new(quantiles),
    )
}

fn fields() -> Fields {
    Fields::from(
        ["bucket", "low_ns", "high_ns", "count"]
            .map(|name| Field::new(name, DataType::Int64, false))
            .to_vec(),
    )
}

fn buckets_type() -> DataType {
    DataType::new_list(DataType::Struct(fields()), true)
}

fn counting(name: &str, input: DataType, per_doubling: f64) -> AggregateUDF {
    create_udaf(
        name,
        vec![input],
        Arc::new(buckets_type()),
        Volatility::Immutable,
        Arc::new(move |_| Ok(Box::new(Counts { per_doubling, counts: BTreeMap::new() }))),
        Arc::new(vec![buckets_type()]),
    )
}

/// Requests by bucket; the bounds go along, so that merging need not know how fine they are.
#[derive(Debug)]
struct Counts {
    per_doubling: f64,
    counts: BTreeMap<i64, Bucket>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    low_ns: i64,
    high_ns: i64,
    count: i64,
}

impl Counts {
    fn add(&mut self, duration_ns: i64) {
        let bucket = if duration_ns <= 0 {
            -1
        } else {
            ((duration_ns as f64).log2() * self.per_doubling).floor() as i64
        };
        let bound =
            |bucket: i64| if bucket < 0 { 0 } else { (bucket as f64 / self.per_doubling).exp2() as i64 };
        let entry = self.counts.entry(bucket).or_insert_with(|| Bucket {
            low_ns: bound(bucket),
            high_ns: bound(bucket + 1),
            count: 0,
        });
        entry.count += 1;
    }

    fn merge(&mut self, lists: &ListArray) {
        for row in (0..lists.len()).filter(|&row| lists.is_valid(row)) {
            for (bucket, add) in counts(lists, row) {
                let entry = self.counts.entry(bucket).or_insert(Bucket { count: 0, ..add });
                entry.count += add.count;
            }
        }
    }

    fn list(&self) -> Result<ScalarValue> {
        let column = |value: &dyn Fn((&i64, &Bucket)) -> i64| {
            Arc::new(self.counts.iter().map(value).collect::<Int64Array>()) as ArrayRef
        };
        let columns = vec![
            column(&|(bucket, _)| *bucket),
            column(&|(_, bucket)| bucket.low_ns),
            column(&|(_, bucket)| bucket.high_ns),
            column(&|(_, bucket)| bucket.count),
        ];
        let rows = StructArray::try_new(fields(), columns, None)?;
        Ok(SingleRowListArrayBuilder::new(Arc::new(rows)).build_list_scalar())
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values[0].as_list_opt::<i32>() {
            Some(lists) => self.merge(lists),
            None => values[0].as_primitive::<Int64Type>().iter().flatten().for_each(|ns| self.add(ns)),
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.merge(states[0].as_list::<i32>());
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.list()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.list()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.len() * size_of::<(i64, Bucket)>()
    }
}

/// The buckets of a row, in order.
fn counts(lists: &ListArray, row: usize) -> Vec<(i64, Bucket)> {
    let rows = lists.value(row);
    let Some(rows) = rows.as_struct_opt() else { return Vec::new() };
    let column = |index: usize| rows.column(index).as_primitive::<Int64Type>();
    let (numbers, low, high, count) = (column(0), column(1), column(2), column(3));
    (0..rows.len())
        .map(|i| {
            (numbers.value(i), Bucket { low_ns: low.value(i), high_ns: high.value(i), count: count.value(i) })
        })
        .collect()
}

fn quantile(counts: &[(i64, Bucket)], q: f64) -> Option<f64> {
    let total: i64 = counts.iter().map(|(_, bucket)| bucket.count).sum();
    let want = (q.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as i64;
    let mut sum = 0;
    let (_, bucket) = counts.iter().find(|(_, bucket)| {
        sum += bucket.count;
        sum >= want
    })?;
    // The middle on the logarithmic scale is off by half a bucket at most.
    Some((bucket.low_ns as f64 * bucket.high_ns as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_one_percent_also_when_merged() {
        let (mut even, mut odd) = (
            Counts { per_doubling: SKETCH, counts: BTreeMap::new() },
            Counts { per_doubling: SKETCH, counts: BTreeMap::new() },
        );
        (1..=100_000).for_each(|n| if n % 2 == 0 { even.add(n * 1000) } else { odd.add(n * 1000) });
        let ScalarValue::List(list) = odd.list().unwrap() else { panic!("a list") };
        even.merge(&list);
        let counts: Vec<(i64, Bucket)> = even.counts.iter().map(|(&n, &b)| (n, b)).collect();
        for q in [0.01, 0.5, 0.99, 1.0] {
            let exact = (q * 100_000.0_f64).ceil() * 1000.0;
            let found = quantile(&counts, q).unwrap();
            assert!((found / exact - 1.0).abs() < 0.0101, "{q}: {found} for {exact}");
        }
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn what_took_no_time_is_counted() {
        let mut counts = Counts { per_doubling: HISTOGRAM, counts: BTreeMap::new() };
        [0, -3, 1, i64::MAX].into_iter().for_each(|ns| counts.add(ns));
        assert_eq!(counts.counts.values().map(|bucket| bucket.count).sum::<i64>(), 4);
        assert_eq!(counts.counts[&-1].count, 2);
    }
}
