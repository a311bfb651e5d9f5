//! A trace in the JSON that `chrome://tracing` and Perfetto read: a complete event for each dispatch, in microseconds.

use anyhow::Result;
use serde_json::json;

use crate::step::Timed;
use crate::table::name;

/// `what` names the process, `how` says where the times come from.
pub(crate) fn json(times: &[Timed], what: &str, how: &str) -> Result<String> {
    let named =
        |kind: &str, name: &str| json!({"name": kind, "ph": "M", "pid": 1, "tid": 1, "args": {"name": name}});
    let mut events = vec![named("process_name", what), named("thread_name", how)];
    events.extend(times.iter().map(|Timed { dispatch, start, seconds }| {
        json!({
            "name": dispatch.label,
            "cat": name(dispatch.phase),
            "ph": "X",
            "pid": 1,
            "tid": 1,
            "ts": start * 1e6,
            "dur": seconds * 1e6,
            "args": {
                "bytes_read": dispatch.bytes_read,
                "bytes_written": dispatch.bytes_written,
                "flops": dispatch.flops,
                "workgroups": dispatch.workgroups,
            },
        })
    }));
    Ok(serde_json::to_string_pretty(&json!({"traceEvents": events, "displayTimeUnit": "ms"}))?)
}
