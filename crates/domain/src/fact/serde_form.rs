//! Forms that serde asks for.

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
