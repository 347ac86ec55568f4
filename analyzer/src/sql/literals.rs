//! Texts that a statement compares with times, durations and numbers.
//!
//! DataFusion casts such a text to the other side's type: a time without an offset would be UTC, `'18:22'`
//! and `'100ms'` nothing at all, and `status = 'ok'` fails over a row, without a word about where. Here each
//! becomes what it means, or an error at its place.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Diagnostic, Result, ScalarValue, Span};
use datafusion::logical_expr::expr::{Between, InList, Like, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use retrospan_formats::units::duration_ns;

use crate::print::plain_name;
use crate::sql::zone::Zone;
use crate::tables::outcome::Outcome;

/// The plan with every such text replaced by the value that it means.
///
/// # Errors
/// A [`Diagnostic`] with the place of the comparison.
pub fn resolve(plan: LogicalPlan, zone: Zone) -> Result<LogicalPlan> {
    let resolved = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| one(expr, &schema, zone))?;
            Ok(if changed.transformed { changed.update_data(|expr| name.restore(expr)) } else { changed })
        })?;
        if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
    });
    Ok(resolved?.data)
}

fn one(expr: Expr, schema: &DFSchema, zone: Zone) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let (new_left, new_right) =
                (meant(&right, &left, schema, zone)?, meant(&left, &right, schema, zone)?);
            let is_new = new_left.is_some() || new_right.is_some();
            let (left, right) = (new_left.map_or(left, Box::new), new_right.map_or(right, Box::new));
            let expr = Expr::BinaryExpr(BinaryExpr { left, op, right });
            Transformed::new_transformed(expr, is_new)
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let (new_low, new_high) = (meant(&expr, &low, schema, zone)?, meant(&expr, &high, schema, zone)?);
            let is_new = new_low.is_some() || new_high.is_some();
            let (low, high) = (new_low.map_or(low, Box::new), new_high.map_or(high, Box::new));
            Transformed::new_transformed(Expr::Between(Between { expr, negated, low, high }), is_new)
        }
        Expr::InList(InList { expr, list, negated }) => {
            let mut is_new = false;
            let mut meant_list = Vec::with_capacity(list.len());
            for item in list {
                let new = meant(&expr, &item, schema, zone)?;
                is_new |= new.is_some();
                meant_list.push(new.unwrap_or(item));
            }
            Transformed::new_transformed(Expr::InList(InList { expr, list: meant_list, negated }), is_new)
        }
        Expr::Like(Like { ref expr, .. }) if is_number(&expr.get_type(schema)?) => {
            return Err(wrong(
                expr,
                format!("{} is a number, and LIKE compares texts: compare it with >= and <", name(expr)),
            ));
        }
        Expr::ScalarFunction(ScalarFunction { func, mut args })
            if func.name() == "date_bin" && args.len() == 2 =>
        {
            // Bins of days begin at midnight of the zone, not of UTC.
            let ty = args[1].get_type(schema)?;
            let is_zoned = matches!(&ty, DataType::Timestamp(_, Some(zone)) if &**zone != "UTC");
            if is_zoned {
                let midnight_ns = -i64::from(zone.offset_s) * 1_000_000_000;
                let origin = ScalarValue::TimestampNanosecond(Some(midnight_ns), Some(zone.name()));
                args.push(Expr::Literal(origin, None));
            }
            Transformed::new_transformed(Expr::ScalarFunction(ScalarFunction { func, args }), is_zoned)
        }
        other => Transformed::no(other),
    })
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// What `text` means beside `other`; None where it is no literal text, or is well as it is.
fn meant(other: &Expr, text: &Expr, schema: &DFSchema, zone: Zone) -> Result<Option<Expr>> {
    let Expr::Literal(
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)),
        _,
    ) = text
    else {
        return Ok(None);
    };
    match other.get_type(schema)? {
        DataType::Timestamp(_, Some(name_of_zone)) => {
            let ns = zone.parse(text).map_err(|e| wrong(other, e))?;
            Ok(Some(Expr::Literal(ScalarValue::TimestampNanosecond(Some(ns), Some(name_of_zone)), None)))
        }
        ty if is_number(&ty) && text.trim().parse::<f64>().is_err() => match duration_ns(text) {
            Ok(ns) if is_duration(other) => {
                Ok(Some(Expr::Literal(ScalarValue::Int64(i64::try_from(ns).ok()), None)))
            }
            _ => Err(wrong(other, not_a_number(other, text))),
        },
        _ => Ok(None),
    }
}

fn is_number(ty: &DataType) -> bool {
    ty.is_numeric()
}

/// Columns of nanoseconds that pass take a duration as everywhere else: `'100ms'`.
fn is_duration(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name.ends_with("_ns"))
}

fn not_a_number(other: &Expr, text: &str) -> String {
    let name = name(other);
    let is_outcome = Outcome::of(&text.to_ascii_lowercase()).is_some();
    let instead = match other {
        Expr::Column(column) if column.name == "status" && is_outcome => {
            format!(": how a request ended is outcome = '{}'", text.to_ascii_lowercase())
        }
        Expr::Column(column) if column.name == "status" => {
            ": write a number such as 404; how a request ended is the column outcome".to_owned()
        }
        other if is_duration(other) => ": write nanoseconds, or a time such as '100ms'".to_owned(),
        _ => String::new(),
    };
    format!("{name} is a number, and '{text}' is not one{instead}")
}

fn name(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => plain_name(&column.name),
        other => plain_name(&other.human_display().to_string()),
    }
}

fn wrong(at: &Expr, message: String) -> DataFusionError {
    let span: Option<Span> = at.spans().and_then(|spans| spans.first());
    let error = DataFusionError::Plan(message.clone());
    DataFusionError::Diagnostic(Box::new(Diagnostic::new_error(message, span)), Box::new(error))
}

/// A session's zone, as its configuration keeps it.
pub fn of_session(context: &datafusion::prelude::SessionContext) -> Zone {
    context.copied_config().get_extension::<Zone>().map_or_else(Zone::default, |zone: Arc<Zone>| *zone)
}
