//! The kernel's side: a thread for each connection.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use super::frame::{self, invalid};
use super::words;
use crate::fake::faults::Faults;
use crate::fake::{Descriptor, FakeKernel, Request};
use crate::nv::Nvlist;

/// Serves a kernel to whoever connects, until accepting fails.
///
/// # Errors
/// The system's.
pub fn serve(listener: &UnixListener, kernel: &FakeKernel) -> io::Result<()> {
    let faults = Faults::new();
    loop {
        let (stream, _) = listener.accept()?;
        let (kernel, faults) = (kernel.clone(), faults.clone());
        thread::spawn(move || {
            // Who sends nonsense, or is gone, is not served further; the kernel stays.
            let _ = serve_one(&stream, &kernel, &faults);
        });
    }
}

fn serve_one(stream: &UnixStream, kernel: &FakeKernel, faults: &Faults) -> io::Result<()> {
    while let Some((list, descriptor)) = frame::receive(stream)? {
        let reply = match words::string(&list, "op")?.as_str() {
            "ioctl" => ioctl(&list, descriptor, kernel, faults)?,
            op => match control(op, &list, kernel, faults) {
                Ok(reply) => reply,
                Err(why) => Nvlist::new().string("error", why.to_string()),
            },
        };
        frame::send(stream, &reply, None)?;
    }
    Ok(())
}

fn ioctl(
    list: &Nvlist,
    mut descriptor: Option<OwnedFd>,
    kernel: &FakeKernel,
    faults: &Faults,
) -> io::Result<Nvlist> {
    let mut request = Request {
        code: words::number(list, "code")?,
        argument: words::bytes(list, "argument"),
        memory: Vec::new(),
        descriptor: None,
    };
    while let Some(region) = words::region(list, request.memory.len())? {
        request.memory.push(region);
    }
    if let Some(file) = &mut descriptor {
        request.descriptor = Some(Descriptor {
            number: words::number(list, "fd")?,
            file,
            taken: false,
        });
    }
    let result = faults.around(&mut request, |request| kernel.request(request));
    let errno = result.map_or_else(|errno| errno.0.unsigned_abs(), |()| 0);
    let taken = request.descriptor.as_ref().is_some_and(|it| it.taken);
    let mut reply = Nvlist::new()
        .number("errno", errno.into())
        .bool("taken", taken);
    reply = words::with_bytes(reply, "argument", &request.argument);
    for (index, region) in request.memory.iter().enumerate() {
        let written = &region.bytes[..region.written];
        reply = words::with_bytes(reply, &words::memory_key(index), written);
    }
    Ok(reply)
}

fn control(op: &str, list: &Nvlist, kernel: &FakeKernel, faults: &Faults) -> io::Result<Nvlist> {
    let reply = Nvlist::new();
    let made = |made: Result<u32, String>| {
        made.map(|id| Nvlist::new().number("id", id.into()))
            .map_err(io::Error::other)
    };
    Ok(match op {
        "misuses" => words::with_texts(reply, "misuses", &kernel.misuses()),
        "panicked" => match kernel.panicked() {
            Some(why) => reply.string("panicked", why),
            None => reply,
        },
        "fault" => {
            faults.order(words::fault(list)?);
            reply
        }
        "clear-faults" => {
            faults.clear();
            reply
        }
        "requests" => reply.number("requests", faults.requests()),
        "port" => made(kernel.add_port(words::port(list)?))?,
        "nvmf-port" => {
            let options = words::options(list);
            let options: Vec<(&str, &str)> = options
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            let online = list.get_bool("online") == Some(true);
            made(kernel.add_nvmf_port(&options, online))?
        }
        "lun" => made(kernel.add_lun(words::lun(list)?))?,
        "dump" => [
            ("ports", kernel.port_list()),
            ("luns", kernel.lun_list()),
            ("sessions", kernel.session_list()),
        ]
        .iter()
        .fold(reply, |reply, (key, text)| {
            words::with_bytes(reply, key, text.as_bytes())
        }),
        "plane" => {
            let answer = kernel.plane().control(&words::string(list, "words")?);
            reply.string("answer", answer.map_err(io::Error::other)?)
        }
        other => return Err(invalid(format!("no such word: {other}"))),
    })
}
