//! Writes ONNX files: messages of fields by number, as protobuf has them.

/// A message.
#[derive(Clone, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    pub fn int(mut self, field: u64, n: i64) -> Message {
        self.varint(field << 3);
        self.varint(n as u64);
        self
    }

    pub fn float(mut self, field: u64, x: f32) -> Message {
        self.varint(field << 3 | 5);
        self.0.extend_from_slice(&x.to_le_bytes());
        self
    }

    pub fn bytes(mut self, field: u64, bytes: &[u8]) -> Message {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, field: u64, text: &str) -> Message {
        self.bytes(field, text.as_bytes())
    }

    pub fn message(self, field: u64, inner: Message) -> Message {
        self.bytes(field, &inner.0)
    }

    pub fn all(self, field: u64, inner: impl IntoIterator<Item = Message>) -> Message {
        inner.into_iter().fold(self, |m, i| m.message(field, i))
    }
}

pub const FLOAT: i64 = 1;
pub const INT64: i64 = 7;
pub const BOOL: i64 = 9;

/// A node of an op with names of inputs and outputs.
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Message]) -> Message {
    let m = inputs.iter().fold(Message::default(), |m, i| m.text(1, i));
    let m = outputs.iter().fold(m, |m, o| m.text(2, o));
    m.text(3, &format!("the_{}", op.to_lowercase())).text(4, op).all(5, attributes.iter().cloned())
}

/// An attribute that is an integer.
pub fn int(name: &str, n: i64) -> Message {
    Message::default().text(1, name).int(3, n).int(20, 2)
}

/// An attribute that is a float.
pub fn float(name: &str, x: f32) -> Message {
    Message::default().text(1, name).float(2, x).int(20, 1)
}

/// An attribute that is a text.
pub fn string(name: &str, text: &str) -> Message {
    Message::default().text(1, name).text(4, text).int(20, 3)
}

/// An attribute that is a list of integers.
pub fn list(name: &str, all: &[i64]) -> Message {
    all.iter().fold(Message::default().text(1, name), |m, &n| m.int(8, n)).int(20, 7)
}

/// An attribute that is a tensor.
pub fn held(name: &str, tensor: Message) -> Message {
    Message::default().text(1, name).message(5, tensor).int(20, 4)
}

/// An attribute that is a graph.
pub fn body(name: &str, graph: Message) -> Message {
    Message::default().text(1, name).message(6, graph).int(20, 5)
}

/// A dim: a number, a name, or nothing.
#[derive(Clone, Copy)]
pub enum Extent {
    Is(i64),
    Named(&'static str),
    Open,
}
pub use Extent::{Is, Named, Open};

/// Name and type of an input or output.
pub fn port(name: &str, dtype: i64, dims: &[Extent]) -> Message {
    let dim = |d: &Extent| match d {
        Is(n) => Message::default().int(1, *n),
        Named(s) => Message::default().text(2, s),
        Open => Message::default(),
    };
    let shape = Message::default().all(1, dims.iter().map(dim));
    let tensor = Message::default().int(1, dtype).message(2, shape);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor))
}

/// A tensor of bytes.
pub fn raw(name: &str, dtype: i64, dims: &[i64], data: &[u8]) -> Message {
    let m = dims.iter().fold(Message::default(), |m, &d| m.int(1, d));
    m.int(2, dtype).text(8, name).bytes(9, data)
}

pub fn floats(name: &str, dims: &[i64], data: &[f32]) -> Message {
    raw(name, FLOAT, dims, &data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

pub fn ints(name: &str, dims: &[i64], data: &[i64]) -> Message {
    raw(name, INT64, dims, &data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

/// A tensor whose data is in another file.
pub fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> Message {
    let m = dims.iter().fold(Message::default(), |m, &d| m.int(1, d));
    let entry = |(k, v): &(&str, &str)| Message::default().text(1, k).text(2, v);
    m.int(2, FLOAT).text(8, name).all(13, entries.iter().map(entry)).int(14, 1)
}

pub fn graph(nodes: &[Message], inputs: &[Message], outputs: &[Message], initialisers: &[Message]) -> Message {
    Message::default()
        .all(1, nodes.iter().cloned())
        .text(2, "tested")
        .all(5, initialisers.iter().cloned())
        .all(11, inputs.iter().cloned())
        .all(12, outputs.iter().cloned())
}

/// A file of opset 21.
pub fn file(graph: Message) -> Vec<u8> {
    file_of(21, graph)
}

/// A file of an opset.
pub fn file_of(opset: i64, graph: Message) -> Vec<u8> {
    Message::default().int(1, 8).message(7, graph).message(8, Message::default().int(2, opset)).0
}
