//! Plugs one component into another: `compose PLUG SOCKET WHOLE`, all of them files.

use std::error::Error;

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let [plug, socket, whole] = &files[..] else { return Err("three files are wanted: PLUG SOCKET WHOLE".into()) };
    let mut graph = CompositionGraph::new();
    let plug = package(&mut graph, "test:plug", plug)?;
    let socket = package(&mut graph, "test:socket", socket)?;
    wac_graph::plug(&mut graph, vec![plug], socket)?;
    std::fs::write(whole, graph.encode(EncodeOptions::default())?)?;
    Ok(())
}

fn package(graph: &mut CompositionGraph, name: &str, file: &str) -> Result<PackageId, Box<dyn Error>> {
    let package = Package::from_bytes(name, None, std::fs::read(file)?, graph.types_mut())?;
    Ok(graph.register_package(package)?)
}
