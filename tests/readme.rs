//! The README says what the program does.

use tracewright::options;

/// Its example runs as a doc test of the library.
#[test]
fn the_table_of_options_is_that_of_the_registry() {
    let readme = include_str!("../README.md");
    let table = options::markdown();
    assert!(readme.contains(&table), "README.md should have this table:\n{table}");
}
