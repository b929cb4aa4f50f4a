//! A way to the store that is not a good one: it cuts, delays, changes, and answers by itself.

use super::store::{Store, env};
use super::{Site, noise, write};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to what passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A connection is cut when so many bytes went up; this many of them are.
    Cut {
        after: usize,
        times: u32,
    },
    /// The same with bytes that come down.
    CutDown {
        after: usize,
        times: u32,
    },
    /// A byte of a body that goes up is another, in so many pieces.
    ChangeUp {
        times: u32,
    },
    /// The same of what comes down.
    ChangeDown {
        times: u32,
    },
    /// The same of what comes down, only of this text and to that, of the same length.
    Replace {
        from: &'static str,
        to: &'static str,
        times: u32,
    },
    /// It says this instead of the server, so many times.
    Answer {
        status: String,
        body: String,
        times: u32,
    },
    /// It takes what is sent and never says anything.
    Silence,
    /// A range never ends.
    Endless,
    /// What comes down is lost, from the first request on that has this in it.
    LoseAfter {
        words: &'static str,
        is_lost: bool,
    },
    /// The server gets the request that has this in it, and its answer is lost with the connection.
    LoseAnswer {
        words: &'static str,
        times: u32,
        is_due: bool,
    },
    /// A request that has this in it is answered so, and not passed on.
    Refuse {
        words: &'static str,
        answer: &'static str,
        times: u32,
    },
    /// So long between two pieces.
    Slow(Duration),
}

pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    fault: Mutex<Fault>,
    /// The first lines of all requests.
    requests: Mutex<Vec<String>>,
    server: String,
}

impl Proxy {
    /// In front of the server at this endpoint.
    pub(crate) fn new(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            fault: Mutex::new(Fault::None),
            requests: Mutex::default(),
            server: endpoint.split_once("://").unwrap().1.to_owned(),
        });
        let of_thread = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = of_thread.clone();
                std::thread::spawn(move || state.serve(client));
            }
        });
        Self { port, state }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.state.fault.lock().unwrap() = fault;
    }

    pub(crate) fn fault(&self) -> Fault {
        self.state.fault.lock().unwrap().clone()
    }

    /// The requests since the last call, as `PUT /path?query`.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock().unwrap())
    }
}

impl State {
    fn serve(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(&self.server) else {
            // As if the server were not there either, but for those that need none.
            return self.alone(client);
        };
        let is_alone = matches!(
            *self.fault.lock().unwrap(),
            Fault::Answer { .. } | Fault::Silence
        );
        if is_alone {
            return self.alone(client);
        }
        let (up, down) = (self.clone(), self);
        let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let uploading = std::thread::spawn(move || up.pass(client, server, true));
        down.pass(server_too, client_too, false);
        let _ = uploading.join();
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, is_up: bool) {
        let mut buffer = vec![0; 64 << 10];
        let mut passed = 0;
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            let piece = &mut buffer[..count];
            if is_up {
                self.note(piece);
            }
            passed += count;
            let is_body = count > 8 << 10;
            let mut is_cut = false;
            let mut is_answered = false;
            let mut wait = Duration::ZERO;
            match &mut *self.fault.lock().unwrap() {
                Fault::Cut { after, times } if is_up && passed > *after && *times > 0 => {
                    *times -= 1;
                    is_cut = true;
                }
                Fault::CutDown { after, times } if !is_up && passed > *after && *times > 0 => {
                    *times -= 1;
                    is_cut = true;
                }
                Fault::ChangeUp { times } if is_up && is_body && *times > 0 => {
                    *times -= 1;
                    piece[count - 100] ^= 0x20;
                }
                Fault::ChangeDown { times } if !is_up && is_body && *times > 0 => {
                    *times -= 1;
                    piece[count - 100] ^= 0x20;
                }
                Fault::Replace { from, to, times } if !is_up && *times > 0 => {
                    let length = from.len();
                    let mut windows = piece.windows(length);
                    if let Some(at) = windows.position(|window| window == from.as_bytes()) {
                        *times -= 1;
                        piece[at..at + length].copy_from_slice(to.as_bytes());
                    }
                }
                Fault::Slow(time) => wait = *time,
                Fault::LoseAfter { words, is_lost } if is_up => *is_lost |= has(piece, words),
                Fault::LoseAnswer {
                    words,
                    times,
                    is_due,
                } => match is_up {
                    true => *is_due |= *times > 0 && has(piece, words),
                    false if *is_due => {
                        (*is_due, is_cut) = (false, true);
                        *times -= 1;
                    }
                    false => {}
                },
                Fault::Refuse {
                    words,
                    answer,
                    times,
                } if is_up && *times > 0 && has(piece, words) => {
                    *times -= 1;
                    drop(from.write_all(answer.as_bytes()));
                    is_cut = true;
                    is_answered = !answer.is_empty();
                }
                Fault::LoseAfter { is_lost: true, .. } => continue,
                Fault::Endless if is_up && has(piece, "range: bytes") => {
                    let length: u64 = 1 << 40;
                    let head = format!(
                        "HTTP/1.1 206 Partial Content\r\nContent-Range: {}\r\nETag: \"x\"\r\n\
                         Last-Modified: Tue, 24 Nov 2026 00:00:00 GMT\r\nContent-Length: {length}\r\n\r\n",
                        range(piece)
                    );
                    drop(from.write_all(head.as_bytes()));
                    while from.write_all(&[0; 4096]).is_ok() {}
                    is_cut = true;
                }
                _ => {}
            }
            if is_cut {
                let _ = to.shutdown(Shutdown::Both);
                if is_answered {
                    // Whoever is still sending when a connection ends does not hear the answer.
                    let _ = std::io::copy(&mut from, &mut std::io::sink());
                }
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
            std::thread::sleep(wait);
            if to.write_all(&buffer[..count]).is_err() {
                let _ = from.shutdown(Shutdown::Both);
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }

    /// Speaks without a server.
    fn alone(&self, mut client: TcpStream) {
        let mut text = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match client.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    self.note(&buffer[..count]);
                    text.extend_from_slice(&buffer[..count]);
                }
            }
            let head = String::from_utf8_lossy(&text).to_lowercase();
            let Some((head, _)) = head.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if text.len() < head.len() + 4 + length {
                continue;
            }
            let mut fault = self.fault.lock().unwrap();
            match &mut *fault {
                Fault::Silence => {
                    drop(fault);
                    std::thread::sleep(Duration::from_secs(60));
                    return;
                }
                Fault::Answer {
                    status,
                    body,
                    times,
                } => {
                    *times -= 1;
                    let is_last = *times == 0;
                    let answer = format!(
                        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    if is_last {
                        *fault = Fault::None;
                    }
                    let _ = client.write_all(answer.as_bytes());
                    return;
                }
                _ => return,
            }
        }
    }

    fn note(&self, piece: &[u8]) {
        let line = piece
            .split(|byte| *byte == b'\r')
            .next()
            .unwrap_or_default();
        let text = String::from_utf8_lossy(line);
        if let Some(request) = text.strip_suffix(" HTTP/1.1") {
            self.requests.lock().unwrap().push(request.to_owned());
        }
    }
}

fn has(piece: &[u8], words: &str) -> bool {
    let words = words.as_bytes();
    piece.windows(words.len()).any(|window| window == words)
}

/// The `Content-Range` for a request.
fn range(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    let range = text
        .lines()
        .find_map(|line| line.strip_prefix("range: bytes="))
        .unwrap();
    let (_, to) = range.split_once('-').unwrap();
    format!("bytes {range}/{}", to.parse::<u64>().unwrap() + 1)
}

/// More than two parts of an upload.
pub(crate) const BIG: usize = 20 << 20;

/// A site whose media take more than one part, and its store behind a proxy.
pub(crate) fn behind(more: &str) -> (Store, Proxy, Site) {
    let store = Store::new();
    let proxy = Proxy::new(&env("ENDPOINT"));
    let mut site = Site::new();
    store.give_with(&mut site, &proxy.endpoint(), more);
    write(&site.path("media/big"), noise(BIG, 3));
    (store, proxy, site)
}
