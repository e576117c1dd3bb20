//! Writes `src/raftpb/plain/generated.rs` from `raft.proto`, without protoc. With `--check` it
//! writes nothing and fails if the file is not what it would write.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const HEAD: &str =
    "// Generated from proto/raft.proto by `cargo run -p raftwire-protogen`: do not edit.\n\n";

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = env::temp_dir().join(format!("raftwire-protogen-{}", std::process::id()));
    fs::create_dir_all(&out)?;
    let generated = generate(here, &out);
    fs::remove_dir_all(&out)?;
    let generated = generated?;

    let target = here.join("../src/raftpb/plain/generated.rs");
    if !env::args().any(|argument| argument == "--check") {
        fs::write(&target, generated)?;
    } else if fs::read_to_string(&target)? != generated {
        return Err("src/raftpb/plain/generated.rs is not what proto/raft.proto generates".into());
    }
    Ok(())
}

fn generate(here: &Path, out: &Path) -> Result<String, Box<dyn Error>> {
    let descriptors = protox::compile(["raft.proto"], [here])?;
    prost_build::Config::new().bytes(["."]).out_dir(out).compile_fds(descriptors)?;
    Ok(HEAD.to_owned() + &fs::read_to_string(out.join("raftpb.rs"))?)
}
