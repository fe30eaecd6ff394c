//! Definitions of custom fields and of line statuses.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use sqlx::PgConnection;

use super::{Error, Result, custom_values};
use crate::domain::custom_fields::{Definition, EntityType, Labels, ValueType};
use crate::domain::line_statuses::{LINE_STATUS_TYPES, LineStatus};

/// The definitions of an account.
///
/// # Errors
/// The database failed, or holds what cannot be; so for all functions here.
pub async fn read(conn: &mut PgConnection, account_id: i64) -> Result<Vec<Definition>> {
    let rows = sqlx::query!(
        "-- definitions.read
        select entity_type, external_id, value_type, name, required,
            default_value::text as default_value, enum_values::text as \"enum_values!\"
        from custom_fields where account_id = $1",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let corrupt = |column, what| Error::Corrupt { table: TABLE, column, what };
            Ok(Definition {
                entity_type: EntityType::ALL
                    .into_iter()
                    .find(|entity| entity.as_str() == row.entity_type)
                    .ok_or_else(|| corrupt("entity_type", row.entity_type.clone()))?,
                value_type: ValueType::ALL
                    .into_iter()
                    .find(|kind| kind.as_str() == row.value_type)
                    .ok_or_else(|| corrupt("value_type", row.value_type.clone()))?,
                external_id: row.external_id,
                name: row.name,
                required: row.required,
                default: match row.default_value {
                    Some(json) => Some(custom_values::from_text(TABLE, "default_value", &json)?),
                    None => None,
                },
                labels: labels(&row.enum_values)?,
            })
        })
        .collect()
}

const TABLE: &str = "custom_fields";

fn labels(json: &str) -> Result<Labels> {
    let corrupt = |what| Error::Corrupt { table: TABLE, column: "enum_values", what };
    let stored: BTreeMap<String, i64> = serde_json::from_str(json).map_err(|error| corrupt(error.to_string()))?;
    let mut labels = Labels::default();
    for (label, number) in stored {
        labels.add(&label, number).map_err(|_| corrupt(format!("{label}: {number}")))?;
    }
    Ok(labels)
}

/// Creates or replaces definitions.
///
/// # Errors
/// See [`read`].
pub async fn write(conn: &mut PgConnection, account_id: i64, definitions: &[&Definition]) -> Result<()> {
    let column = |of: fn(&Definition) -> &str| definitions.iter().map(|d| of(d)).collect::<Vec<&str>>();
    let required: Vec<bool> = definitions.iter().map(|d| d.required).collect();
    let defaults: Vec<Option<Json>> =
        definitions.iter().map(|d| d.default.as_ref().map(custom_values::to_json)).collect();
    let labels: Vec<Json> = definitions
        .iter()
        .map(|d| Json::Object(d.labels.iter().map(|(label, number)| (label.clone(), (*number).into())).collect()))
        .collect();
    sqlx::query!(
        "-- definitions.write
        insert into custom_fields
            (account_id, entity_type, external_id, value_type, name, required, default_value, enum_values)
        select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bool[], $7::jsonb[], $8::jsonb[])
        on conflict (account_id, entity_type, external_id) do update set
            name = excluded.name, required = excluded.required, default_value = excluded.default_value,
            enum_values = excluded.enum_values",
        account_id,
        &column(|d| d.entity_type.as_str()) as &[&str],
        &column(|d| &d.external_id) as &[&str],
        &column(|d| d.value_type.as_str()) as &[&str],
        &column(|d| &d.name) as &[&str],
        &required,
        &defaults as &[Option<Json>],
        &labels,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The account's own line statuses.
///
/// # Errors
/// See [`read`].
pub async fn read_line_statuses(conn: &mut PgConnection, account_id: i64) -> Result<Vec<LineStatus>> {
    let rows = sqlx::query!(
        "-- line_statuses.read
        select external_id, name, type as kind from line_statuses where account_id = $1",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let kind = LINE_STATUS_TYPES.into_iter().find(|kind| *kind == row.kind);
            let kind =
                kind.ok_or_else(|| Error::Corrupt { table: "line_statuses", column: "type", what: row.kind.clone() })?;
            Ok(LineStatus { external_id: row.external_id, name: row.name, kind })
        })
        .collect()
}

/// Creates or replaces line statuses.
///
/// # Errors
/// See [`read`].
pub async fn write_line_statuses(conn: &mut PgConnection, account_id: i64, statuses: &[&LineStatus]) -> Result<()> {
    let column = |of: fn(&LineStatus) -> &str| statuses.iter().map(|s| of(s)).collect::<Vec<&str>>();
    sqlx::query!(
        "-- line_statuses.write
        insert into line_statuses (account_id, external_id, name, type)
        select $1, * from unnest($2::text[], $3::text[], $4::text[])
        on conflict (account_id, external_id) do update set name = excluded.name, type = excluded.type",
        account_id,
        &column(|s| &s.external_id) as &[&str],
        &column(|s| &s.name) as &[&str],
        &column(|s| s.kind) as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}
