//! A listener on the link that loopback is: it asks, and takes down what it is told, as a resolver
//! does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::rdata::{PTR, RData};
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, TYPE};
use socket2::{Domain, Protocol, Socket, Type};

use crate::scene::{PATIENCE, Result};

/// The service, as TP 8009 names it.
const SERVICE: &str = "_nvme-disc._tcp.local";

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;

/// What is known of the link.
pub(crate) struct Link {
    socket: UdpSocket,
    /// Instances of the service.
    instances: BTreeSet<String>,
    /// Instances that have said goodbye.
    gone: BTreeSet<String>,
    /// Host and port of each instance.
    places: BTreeMap<String, (String, u16)>,
    texts: BTreeMap<String, BTreeSet<(String, Option<String>)>>,
    addresses: BTreeMap<String, BTreeSet<Ipv4Addr>>,
}

/// An instance of the service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) instance: String,
    pub(crate) host: String,
    pub(crate) text: BTreeSet<(String, Option<String>)>,
    pub(crate) addresses: BTreeSet<Ipv4Addr>,
}

impl Link {
    /// Listens.
    pub(crate) fn listen() -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT).into())?;
        socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST)?;
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
        socket.set_multicast_loop_v4(true)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(Self {
            socket: socket.into(),
            instances: BTreeSet::new(),
            gone: BTreeSet::new(),
            places: BTreeMap::new(),
            texts: BTreeMap::new(),
            addresses: BTreeMap::new(),
        })
    }

    /// Waits until the service is known at this port, with all that belongs to it.
    pub(crate) fn find(&mut self, port: u16) -> Result<Found> {
        self.until(&format!("a service at port {port}"), |link| {
            link.found(port)
        })
    }

    /// Waits until this instance has said goodbye.
    pub(crate) fn misses(&mut self, instance: &str) -> Result {
        self.until(&format!("{instance}'s goodbye"), |link| {
            link.gone.contains(instance).then_some(())
        })
    }

    /// Forgets what instances say of themselves, to be told it anew.
    pub(crate) fn forget_texts(&mut self) {
        self.texts.clear();
    }

    /// Asks and listens until something is known.
    fn until<T>(&mut self, what: &str, known: impl Fn(&Self) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut next_question = Instant::now();
        while Instant::now() < deadline {
            if let Some(it) = known(self) {
                return Ok(it);
            }
            if Instant::now() >= next_question {
                self.ask(SERVICE, TYPE::PTR)?;
                for instance in &self.instances {
                    self.ask(instance, TYPE::SRV)?;
                    self.ask(instance, TYPE::TXT)?;
                }
                for (host, _) in self.places.values() {
                    self.ask(host, TYPE::A)?;
                }
                next_question = Instant::now() + Duration::from_secs(2);
            }
            self.hear()?;
        }
        Err(format!("on the link there is not: {what}").into())
    }

    fn found(&self, port: u16) -> Option<Found> {
        let mut places = self.places.iter();
        let (instance, (host, _)) = places.find(|(_, (_, at))| *at == port)?;
        Some(Found {
            instance: self.instances.get(instance)?.clone(),
            host: host.clone(),
            text: self.texts.get(instance)?.clone(),
            addresses: self.addresses.get(host)?.clone(),
        })
    }

    fn ask(&self, name: &str, what: TYPE) -> Result {
        let mut query = Packet::new_query(0);
        let name = Name::new(name)?;
        let question = Question::new(name, QTYPE::TYPE(what), QCLASS::CLASS(CLASS::IN), false);
        query.questions.push(question);
        let bytes = query.build_bytes_vec()?;
        self.socket
            .send_to(&bytes, SocketAddrV4::new(GROUP, PORT))?;
        Ok(())
    }

    /// Takes one packet down, if one comes soon.
    fn hear(&mut self) -> Result {
        let mut buffer = [0; 9000];
        let length = match self.socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // Others on the link may say what they like.
        let Ok(packet) = Packet::parse(&buffer[..length]) else {
            return Ok(());
        };
        for record in packet.answers.iter().chain(&packet.additional_records) {
            let name = record.name.to_string();
            #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
            match &record.rdata {
                RData::PTR(PTR(instance)) if name == SERVICE => {
                    let instance = instance.to_string();
                    if record.ttl == 0 {
                        self.instances.remove(&instance);
                        self.gone.insert(instance);
                    } else {
                        self.gone.remove(&instance);
                        self.instances.insert(instance);
                    }
                }
                RData::SRV(srv) if record.ttl != 0 => {
                    let place = (srv.target.to_string(), srv.port);
                    self.places.insert(name, place);
                }
                RData::TXT(text) if record.ttl != 0 => {
                    let attributes = text.attributes().into_iter().collect();
                    self.texts.insert(name, attributes);
                }
                RData::A(address) if record.ttl != 0 => {
                    let address = Ipv4Addr::from(address.address);
                    self.addresses.entry(name).or_default().insert(address);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
