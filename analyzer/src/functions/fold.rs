//! Folding times on a period.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::periodicity::phase;

/// `fold_phase(time, period_s, origin)`: which part of the period has passed, from 0 to 1, at `time` since the last
/// multiple of the period from `origin`.
pub fn fold_phase() -> ScalarUDF {
    ScalarUDF::new_from_impl(FoldPhase { signature: fold_phase_signature() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FoldPhase {
    signature: Signature,
}

fn fold_phase_signature() -> Signature {
    Signature::new(TypeSignature::Any(3), Volatility::Immutable)
}

impl ScalarUDFImpl for FoldPhase {
    fn name(&self) -> &str {
        "fold_phase"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let [time, period_s, origin] = arguments else {
            return plan_err!("fold_phase(time, period_s, origin) takes three arguments");
        };
        for moment in [time, origin] {
            if !is_moment(moment) {
                return plan_err!("fold_phase(time, period_s, origin): {moment} is no time");
            }
        }
        if !(period_s.is_numeric() || period_s.is_null()) {
            return plan_err!("fold_phase(time, period_s, origin): {period_s} is no number of seconds");
        }
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (time, period_s, origin) =
            (ns(&arrays[0])?, cast(&arrays[1], &DataType::Float64)?, ns(&arrays[2])?);
        let (time, origin) = (time.as_primitive::<Int64Type>(), origin.as_primitive::<Int64Type>());
        let period_s = period_s.as_primitive::<Float64Type>();
        let folded = |row: usize| {
            let known = time.is_valid(row) && origin.is_valid(row) && period_s.is_valid(row);
            let period_s = period_s.value(row);
            (known && period_s > 0.0).then(|| phase(time.value(row), period_s, origin.value(row)))
        };
        let phases: Float64Array = (0..time.len()).map(folded).collect();
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&phases, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(phases)))
    }
}

/// Whether [`ns`] understands values of this type.
fn is_moment(ty: &DataType) -> bool {
    let text = matches!(ty, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
    text || ty.is_integer() || ty.is_null() || matches!(ty, DataType::Timestamp(..))
}

/// Nanoseconds since 1970 UTC of a timestamp of any unit and zone; integers are taken for such.
fn ns(times: &ArrayRef) -> Result<ArrayRef> {
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let times = match times.data_type() {
        DataType::Timestamp(_, None) => cast(times, &DataType::Timestamp(TimeUnit::Nanosecond, None))?,
        DataType::Timestamp(_, Some(_)) => cast(times, &utc)?,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => cast(times, &utc)?,
        _ => times.clone(),
    };
    Ok(cast(&times, &DataType::Int64)?)
}
