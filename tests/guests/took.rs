//! A step of a migration in WebAssembly: `"took": "1h 02m 03s"` becomes `"seconds": 3723`.
//!
//! Built with `rustc --edition 2021 --target wasm32-unknown-unknown --crate-type cdylib -O -C panic=abort`.
//! A guest gets the members that its step reads as one JSON object, and answers another; it may well use
//! a JSON library. This one does without, so that a compiler is all that it needs.

use std::sync::Mutex;

static INPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static OUTPUT: Mutex<String> = Mutex::new(String::new());

/// Makes room for the input and says where.
#[no_mangle]
pub extern "C" fn alloc(len: i32) -> i32 {
    let mut input = INPUT.lock().unwrap();
    *input = vec![0; len as usize];
    input.as_ptr() as usize as i32
}

/// Reads the input that lies there now; answers where the output is, and how long.
#[no_mangle]
pub extern "C" fn run(_at: i32, _len: i32) -> i64 {
    let input = String::from_utf8(INPUT.lock().unwrap().clone()).unwrap_or_default();
    let mut output = OUTPUT.lock().unwrap();
    *output = match seconds(&input) {
        Some(seconds) => format!("{{\"set\":{{\"/seconds\":{seconds}}},\"remove\":[\"/took\"]}}"),
        None => "{\"refuse\":\"took is not of the form 1h 02m 03s\"}".to_owned(),
    };
    ((output.as_ptr() as usize as i64) << 32) | output.len() as i64
}

/// The one member that the step reads: `{"/took":"1h 02m 03s"}`. The host writes without spaces, and
/// escapes only what has to be, so a text of this form has no escapes.
fn seconds(input: &str) -> Option<u64> {
    let text = input.strip_prefix("{\"/took\":\"")?.strip_suffix("\"}")?;
    let mut parts = text.split(' ');
    let mut total = 0;
    for (unit, worth) in [('h', 3600), ('m', 60), ('s', 1)] {
        let number: u64 = parts.next()?.strip_suffix(unit)?.parse().ok()?;
        total += number.checked_mul(worth)?;
    }
    parts.next().is_none().then_some(total)
}
