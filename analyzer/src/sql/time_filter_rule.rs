//! Makes comparisons of a computed time prunable: `boot_ns + c > t` becomes `boot_ns > t - c`.
//!
//! `events.time` is computed from `boot_ns`, of which files and pages know their smallest and largest value. Without
//! this rule a question about ten seconds reads the whole hour.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule.
#[derive(Debug)]
pub struct ShiftConstants;

impl OptimizerRule for ShiftConstants {
    fn name(&self) -> &str {
        "shift_constants"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(_) | LogicalPlan::TableScan(_) => {
                plan.map_expressions(|expr| expr.transform_up(|expr| Ok(shifted(expr))))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

fn shifted(expr: Expr) -> Transformed<Expr> {
    match shift(&expr) {
        Some(simpler) => Transformed::yes(simpler),
        None => Transformed::no(expr),
    }
}

/// Only where the difference can be computed; a sum that would not fit has no rows to lose, for times are
/// far from the ends of 64 bits.
fn shift(expr: &Expr) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let comparison = matches!(
        op,
        Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
    );
    let Expr::BinaryExpr(sum) = left.as_ref() else { return None };
    if !comparison || sum.op != Operator::Plus || !matches!(sum.left.as_ref(), Expr::Column(_)) {
        return None;
    }
    let difference = integer(right)?.checked_sub(integer(&sum.right)?)?;
    let limit = Expr::Literal(ScalarValue::Int64(Some(difference)), None);
    Some(Expr::BinaryExpr(BinaryExpr::new(sum.left.clone(), *op, Box::new(limit))))
}

fn integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(value), _) => *value,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn constants_move_to_the_other_side() {
        let sum = col("boot_ns") + lit(100_i64);
        assert_eq!(shift(&sum.clone().gt(lit(150_i64))), Some(col("boot_ns").gt(lit(50_i64))));
        assert_eq!(shift(&sum.clone().lt_eq(lit(1_i64))), Some(col("boot_ns").lt_eq(lit(-99_i64))));
        assert_eq!(shift(&sum.clone().gt(lit(i64::MIN))), None);
        assert_eq!(shift(&sum.gt(col("x"))), None);
        assert_eq!(shift(&col("boot_ns").gt(lit(1_i64))), None);
    }
}
