//! The Lua scripts, one file each.

/// A Lua script, and the digest by which the server knows it.
pub(super) struct Script {
    /// What it says.
    pub(super) text: &'static str,
    /// Whether somebody is told that it has happened, so that replicas must have it first
    /// (`redis_wait`). Others only help: whoever loses what they wrote loses nothing.
    pub(super) is_kept: bool,
    digest: std::sync::OnceLock<String>,
}

impl Script {
    const fn new(text: &'static str, is_kept: bool) -> Self {
        Self { text, is_kept, digest: std::sync::OnceLock::new() }
    }

    pub(super) fn digest(&self) -> &str {
        self.digest.get_or_init(|| redis::Script::new(self.text).get_hash().to_owned())
    }
}

/// Reads a script from the file of its name.
macro_rules! script {
    (kept: $name:literal) => {
        Script::new(include_str!(concat!($name, ".lua")), true)
    };
    (not kept: $name:literal) => {
        Script::new(include_str!(concat!($name, ".lua")), false)
    };
    (about a grant: $name:literal) => {
        Script::new(concat!(include_str!("grant.lua"), include_str!(concat!($name, ".lua"))), true)
    };
    (about a grant and who asked: $name:literal) => {
        Script::new(
            concat!(
                include_str!("grant.lua"),
                include_str!("asked.lua"),
                include_str!(concat!($name, ".lua"))
            ),
            true,
        )
    };
    (not kept, about who asked: $name:literal) => {
        Script::new(concat!(include_str!("asked.lua"), include_str!(concat!($name, ".lua"))), false)
    };
}

pub(super) static REDEEM_CODE: Script = script!(about a grant: "redeem_code");
pub(super) static PUT_GRANT: Script = script!(about a grant: "put_grant");
pub(super) static ROTATE_REFRESH: Script = script!(about a grant and who asked: "rotate_refresh");
pub(super) static HOLD_REFRESH: Script = script!(not kept, about who asked: "hold_refresh");
pub(super) static REVOKE_GRANT: Script = script!(about a grant: "revoke_grant");
pub(super) static FINISH_REVOCATION: Script = script!(about a grant: "finish_revocation");
pub(super) static REVOKE_BY_LATE_CODE: Script = script!(about a grant: "revoke_by_late_code");
pub(super) static REVOKE_ACCESS: Script = script!(kept: "revoke_access");
pub(super) static RESERVE_STATUSES: Script = script!(kept: "reserve_statuses");
pub(super) static SET_STATUSES: Script = script!(kept: "set_statuses");
pub(super) static FIND_ACCESS: Script = script!(not kept: "find_access");
pub(super) static PUT_ROW: Script = script!(kept: "put_row");
pub(super) static FIND_SESSION: Script = script!(not kept: "find_session");
pub(super) static ADD_SESSION_GRANTS: Script = script!(kept: "add_session_grants");
pub(super) static TAKE_SESSION: Script = script!(kept: "take_session");
pub(super) static LIST_SESSION: Script = script!(kept: "list_session");
pub(super) static PUT_NOTICES: Script = script!(kept: "put_notices");
pub(super) static TAKE_DUE_NOTICES: Script = script!(not kept: "take_due_notices");
pub(super) static FINISH_NOTICE: Script = script!(not kept: "finish_notice");
pub(super) static PUT_OFF_NOTICE: Script = script!(not kept: "put_off_notice");
pub(super) static COUNT_ATTEMPT: Script = script!(not kept: "count_attempt");
pub(super) static KEEP_ATTEMPT: Script = script!(not kept: "keep_attempt");
pub(super) static OPEN_BFF_SESSION: Script = script!(kept: "open_bff_session");
pub(super) static ADVANCE_BFF_SESSION: Script = script!(kept: "advance_bff_session");
pub(super) static RENEW_BFF_SESSION: Script = script!(kept: "renew_bff_session");
pub(super) static YIELD_BFF_RENEWAL: Script = script!(not kept: "yield_bff_renewal");
