//! Returns its input as its output: the smallest plug-in, and the template to copy.

use backroom_sdk::prelude::*;

backroom_sdk::export!(echo);

/// An input that begins with `log:` is written to the job's log as well.
fn echo(input: Bytes) -> Result<Bytes> {
    if input.starts_with(b"log:") {
        info!("{}", String::from_utf8_lossy(&input));
    }
    Ok(input)
}
