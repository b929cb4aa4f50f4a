//! Progress on a terminal as a bar, elsewhere as plain lines.

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use zbackup_core::progress::{Phase, Progress, Snapshot};

/// Where nobody watches a bar, a line now and then is enough.
const PERIOD: Duration = Duration::from_secs(10);

pub(crate) struct Terminal {
    /// `None` where stderr is not a terminal.
    bar: Option<ProgressBar>,
    last: Mutex<Option<(Phase, Instant)>>,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self {
            bar: std::io::stderr().is_terminal().then(ProgressBar::no_length),
            last: Mutex::new(None),
        }
    }

    /// Does what needs the line that the bar is on.
    pub(crate) fn without_bar<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }
}

impl Progress for Terminal {
    fn update(&self, now: Snapshot) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = last.is_none_or(|(phase, _)| phase != now.phase);
        match &self.bar {
            Some(bar) => {
                if is_new {
                    bar.set_style(style(now.total.is_some()));
                    bar.set_message(doing(now.phase));
                    bar.reset();
                }
                if let Some(total) = now.total {
                    bar.set_length(total);
                }
                bar.set_position(now.done);
                *last = Some((now.phase, Instant::now()));
            }
            None if is_new => {
                crate::tell(&format!("{} …\n", doing(now.phase)));
                *last = Some((now.phase, Instant::now()));
            }
            None => {
                if last.is_some_and(|(_, told)| told.elapsed() < PERIOD) {
                    return;
                }
                let of = now
                    .total
                    .map_or_else(String::new, |total| format!(" of {}", HumanBytes(total)));
                crate::tell(&format!(
                    "{}: {}{of}, {}/s\n",
                    doing(now.phase),
                    HumanBytes(now.done),
                    HumanBytes(now.rate)
                ));
                *last = Some((now.phase, Instant::now()));
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(is_bounded: bool) -> ProgressStyle {
    let template = if is_bounded {
        "{msg:24} [{bar:30}] {percent:>3}%  {bytes}/{total_bytes}  {binary_bytes_per_sec}  {eta} left"
    } else {
        "{msg:24} {spinner} {bytes}  {binary_bytes_per_sec}"
    };
    ProgressStyle::with_template(template)
        .map(|style| style.progress_chars("=> "))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Database => "dumping the database",
        Phase::Config => "packing configuration",
        Phase::Files => "packing media files",
        Phase::Verify => "verifying",
        Phase::Unpack => "unpacking",
        Phase::Load => "loading the database",
        Phase::Place => "moving files into place",
        Phase::Upload => "uploading",
        Phase::Download => "downloading",
        Phase::Encrypt => "encrypting",
        Phase::Decrypt => "decrypting",
        _ => "working",
    }
}
