//! Why a test fails, said once more below everything else: logs are long, and who shows only the end
//! of an output would leave it out.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

/// Keeps the words of every panic from now on, each for its own thread.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            WORDS.set(panic.to_string());
            usual(panic);
        }));
    });
}

/// Prints the logs of a test that panics, and below them why it does; nothing for one that does not.
pub fn print(logs: impl FnOnce() -> String) {
    if std::thread::panicking() {
        eprintln!("{}\n{}", logs(), WORDS.take());
    }
}

thread_local! {
    static WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}
