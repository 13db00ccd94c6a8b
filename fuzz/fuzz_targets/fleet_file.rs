//! Any bytes as a fleet file: nothing may panic, what is valid is printed and read again as the same, and what is not
//! can be shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_fleet::{parse, parse_bytes, print};

fuzz_target!(|bytes: &[u8]| {
    match parse_bytes(bytes, "fuzz.toml") {
        Ok(fleet) => {
            let text = print(&fleet);
            match parse(&text, "printed.toml") {
                Ok(again) => {
                    assert_eq!(again, fleet);
                    assert_eq!(print(&again), text);
                }
                Err(mistakes) => panic!("what was printed has mistakes: {mistakes}\n{text}"),
            }
        }
        Err(mistakes) => {
            assert!(mistakes.len() > 0);
            let shown = mistakes.render(true);
            assert!(shown.contains("error[WL01"));
            assert_eq!(mistakes.to_json().as_array().map(Vec::len), Some(mistakes.len()));
            if let Ok(source) = std::str::from_utf8(bytes) {
                for mistake in &mistakes {
                    assert!(source.get(mistake.span.clone()).is_some() || mistake.span == (0..0));
                }
            }
        }
    }
});
