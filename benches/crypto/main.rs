//! What minting, verifying and exchanging cost, each beside the bare ring operations that it cannot do without.
//!
//! `cargo bench --bench crypto` prints divan's figures for each, and then a table of ratios. The ratios are measured
//! on their own, ours and the floor in turns, so that a busy machine disturbs both alike.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark prints, and fails by a panic that says why"
)]

mod floor;
mod life;
#[path = "../shared/ratio.rs"]
mod ratio;
mod room;
mod waiting;

use divan::Bencher;
use marque_spiffe::UnverifiedJwtSvid;
use marque_testkit::START;

use self::floor::Floor;
use self::ratio::{Pair, table};
use self::room::{ISSUER, Room};

/// How many verified SVIDs a token service remembers, where it does.
const REMEMBERED: u64 = 4096;

fn main() {
    divan::main();
    // `cargo bench -- --list` and the like want no measurement.
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        ratios();
    }
}

/// The figures of docs/benchmarks.md: each of ours in turns with its floor.
fn ratios() {
    let (room, floor) = (Room::new(), Floor::new());
    let (svid, form) = (room.jwt_svid(), room.form());
    let remembering = Room::remembering(REMEMBERED);
    let known_form = remembering.form();
    table(&mut [
        Pair {
            name: "X.509-SVID: key pair, certificate, self-check",
            ours: &mut || drop(divan::black_box(mint_x509(&room))),
            floor_name: "ring: P-256 key generation + sign + verify",
            floor: &mut || {
                floor.generate_and_sign();
                floor.verify();
            },
        },
        Pair {
            name: "JWT-SVID: mint, self-check",
            ours: &mut || drop(divan::black_box(room.jwt_svid())),
            floor_name: "ring: P-256 sign + verify",
            floor: &mut || {
                floor.sign();
                floor.verify();
            },
        },
        Pair {
            name: "JWT-SVID: parse and verify",
            ours: &mut || verify_jwt(&room, &svid),
            floor_name: "ring: P-256 verify",
            floor: &mut || floor.verify(),
        },
        Pair {
            name: "exchange without I/O, form to signed token",
            ours: &mut || drop(divan::black_box(room.exchange(&form))),
            floor_name: "ring: P-256 verify + sign",
            floor: &mut || {
                floor.verify();
                floor.sign();
            },
        },
        Pair {
            name: "the same, the SVID verified before",
            ours: &mut || drop(divan::black_box(remembering.exchange(&known_form))),
            floor_name: "ring: P-256 sign",
            floor: &mut || floor.sign(),
        },
    ]);
}

fn mint_x509(room: &Room) -> marque_authority::MintedX509Svid {
    room.authority.mint_x509_svid(&Room::x509_template(), START).expect("an X.509-SVID")
}

fn verify_jwt(room: &Room, svid: &str) {
    let svid = UnverifiedJwtSvid::parse(divan::black_box(svid)).expect("a JWT-SVID");
    divan::black_box(
        svid.verify(&room.authority.bundle(), ISSUER, START).expect("a good JWT-SVID"),
    );
}

#[divan::bench]
fn mint_x509_svid(bencher: Bencher<'_, '_>) {
    let room = Room::new();
    bencher.bench_local(|| mint_x509(&room));
}

#[divan::bench]
fn mint_jwt_svid(bencher: Bencher<'_, '_>) {
    let room = Room::new();
    bencher.bench_local(|| room.jwt_svid());
}

#[divan::bench]
fn verify_jwt_svid(bencher: Bencher<'_, '_>) {
    let room = Room::new();
    let svid = room.jwt_svid();
    bencher.bench_local(|| verify_jwt(&room, &svid));
}

#[divan::bench]
fn exchange_without_io(bencher: Bencher<'_, '_>) {
    let room = Room::new();
    let form = room.form();
    bencher.bench_local(|| room.exchange(&form));
}

#[divan::bench]
fn exchange_without_io_of_a_known_svid(bencher: Bencher<'_, '_>) {
    let room = Room::remembering(REMEMBERED);
    let form = room.form();
    bencher.bench_local(|| room.exchange(&form));
}

#[divan::bench]
fn ring_p256_sign(bencher: Bencher<'_, '_>) {
    let floor = Floor::new();
    bencher.bench_local(|| floor.sign());
}

#[divan::bench]
fn ring_p256_verify(bencher: Bencher<'_, '_>) {
    let floor = Floor::new();
    bencher.bench_local(|| floor.verify());
}

#[divan::bench]
fn ring_p256_generate_and_sign(bencher: Bencher<'_, '_>) {
    let floor = Floor::new();
    bencher.bench_local(|| floor.generate_and_sign());
}
