//! Compiles `proto/` with protox, so that no `protoc` has to be installed.

use std::error::Error;
use std::path::Path;

const PROTOS: [&str; 5] = [
    "proto/workload.proto",
    "proto/marque/admin/v1/admin.proto",
    "proto/spiffe/broker.proto",
    "proto/spire/api/server/svid/v1/svid.proto",
    "proto/spire/api/server/bundle/v1/bundle.proto",
];

/// Messages that hold a private key or a token: their `Debug` is written by hand in `grpc/proto.rs`.
const SECRETS: [&str; 6] = [
    ".X509SVID",
    ".JWTSVID",
    ".WITSVID",
    ".ValidateJWTSVIDRequest",
    ".spiffe.broker.X509SVID",
    ".spiffe.broker.JWTSVID",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    describe("proto/workload.proto", "workload.fds")?;
    describe("proto/spiffe/broker.proto", "broker.fds")?;
    tonic_prost_build::configure().skip_debug(SECRETS).compile_fds(descriptors)?;
    Ok(())
}

/// What gRPC server reflection tells of a socket: the services there, and what their messages need.
#[expect(clippy::disallowed_methods, reason = "cargo says by a variable where generated files go")]
fn describe(proto: &str, description: &str) -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_file(proto)?;
    let folder = std::env::var("OUT_DIR")?;
    let file = Path::new(&folder).join(description);
    Ok(std::fs::write(file, compiler.encode_file_descriptor_set())?)
}
