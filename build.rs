//! Compiles `proto/` with protox, so that no `protoc` has to be installed.

use std::error::Error;

const PROTOS: [&str; 2] = ["proto/workload.proto", "proto/marque/admin/v1/admin.proto"];

/// Messages that hold a private key or a token: their `Debug` is written by hand in `grpc/proto.rs`.
const SECRETS: [&str; 4] = [".X509SVID", ".JWTSVID", ".WITSVID", ".ValidateJWTSVIDRequest"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    tonic_prost_build::configure().skip_debug(SECRETS).compile_fds(descriptors)?;
    Ok(())
}
