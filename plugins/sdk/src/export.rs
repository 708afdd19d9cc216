/// Makes functions the entry points of this plug-in. Once per crate.
///
/// With one function, a job gets it that names no handler, or one that names it or the usual `handle`:
///
/// ```
/// # use backroom_sdk::prelude::*;
/// fn greet(name: String) -> Result<String> {
///     Ok(format!("Hello, {name}"))
/// }
///
/// backroom_sdk::export!(greet);
/// # fn main() {}
/// ```
///
/// With several, the job's `handler` names the one it wants:
///
/// ```
/// # use backroom_sdk::prelude::*;
/// # fn clean_row(row: String) -> Result<String> { Ok(row) }
/// # fn summarise(rows: Vec<String>) -> Result<usize> { Ok(rows.len()) }
/// backroom_sdk::export! {
///     "clean-row" => clean_row,
///     "summarise" => summarise,
/// }
/// # fn main() {}
/// ```
///
/// The component carries the names in a custom section, `backroom-handlers`, so that the host knows them without a list in
/// `plugin.toml`, and refuses a list that differs.
///
/// It adds the type `Exports` to the crate, which native tests can give to `TestHost::dispatch`.
#[macro_export]
macro_rules! export {
    ($handler:path) => {
        $crate::export!(@section &["handle", $crate::name_in(stringify!($handler))]);
        $crate::export!(@plugin job, input => $crate::run($handler, &job, input));
    };
    ($($name:literal => $handler:path),+ $(,)?) => {
        const _: () = $crate::check_names(&[$($name),+]);

        $crate::export!(@section &[$($name),+]);
        $crate::export!(@plugin job, input => match job.handler.as_str() {
            $($name => $crate::run($handler, &job, input),)+
            unknown => $crate::unknown_handler(unknown, &[$($name),+]),
        });
    };
    (@section $names:expr) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            const NAMES: &[&str] = $names;
            #[used]
            #[unsafe(link_section = "backroom-handlers")]
            static SECTION: [u8; $crate::section_bytes(NAMES)] = $crate::section(NAMES);
        };
    };
    (@plugin $job:ident, $input:ident => $run:expr) => {
        /// All handlers of this plug-in.
        pub struct Exports;

        impl $crate::Plugin for Exports {
            fn handle($job: $crate::Job, $input: ::std::vec::Vec<u8>) -> $crate::Result<$crate::Outcome> {
                $run
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::component::export_component!(Exports with_types_in $crate::component::bindings);
    };
}
