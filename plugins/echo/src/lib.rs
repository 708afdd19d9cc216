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

#[cfg(test)]
mod tests {
    use super::*;
    use backroom_sdk::testing::TestHost;

    #[test]
    fn the_input_comes_back() {
        let run = TestHost::new().run_bytes(echo, [0, 159, 255]);
        assert_eq!(run.output_bytes(), [0, 159, 255]);
        assert!(run.logs.is_empty());
    }

    #[test]
    fn an_input_that_asks_for_it_is_logged() {
        assert_eq!(TestHost::new().run_bytes(echo, "log: hello").logs[0].message, "log: hello");
    }
}
