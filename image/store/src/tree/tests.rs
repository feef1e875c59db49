use super::*;

/// Writes a device tree: nodes as their names, properties and what is in them.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    structure: Vec<u8>,
    names: Vec<u8>,
}

impl Writer {
    pub(crate) fn begin(mut self, name: &str) -> Self {
        self.add(BEGIN_NODE);
        self.structure.extend(name.bytes().chain([0]));
        self.fill()
    }

    pub(crate) fn end(mut self) -> Self {
        self.add(END_NODE);
        self
    }

    pub(crate) fn texts(self, name: &str, texts: &[&str]) -> Self {
        let value: String = texts.iter().flat_map(|text| [*text, "\0"]).collect();
        self.property(name, value.as_bytes())
    }

    pub(crate) fn numbers(self, name: &str, numbers: &[u32]) -> Self {
        let value: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.property(name, &value)
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.add(END);
        let header = 40;
        let names = header + self.structure.len();
        let words = [MAGIC, 0, 40, u32::try_from(names).unwrap(), 0, 0, 0, 0, 0, 0];
        let header = words.into_iter().flat_map(u32::to_be_bytes);
        header.chain(self.structure).chain(self.names).collect()
    }

    fn property(mut self, name: &str, value: &[u8]) -> Self {
        let place = u32::try_from(self.names.len()).unwrap();
        self.names.extend(name.bytes().chain([0]));
        self.add(PROPERTY);
        self.add(u32::try_from(value.len()).unwrap());
        self.add(place);
        self.structure.extend(value);
        self.fill()
    }

    fn add(&mut self, number: u32) {
        self.structure.extend(number.to_be_bytes());
    }

    fn fill(mut self) -> Self {
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        self
    }
}

/// A port on a bus, with a clock that somebody else supplies, and a console.
fn bytes() -> Vec<u8> {
    Writer::default()
        .begin("")
        .begin("aliases")
        .texts("ethernet0", &["/bus/port@10"])
        .texts("serial1", &["/serial@7"])
        .end()
        .begin("chosen")
        .texts("stdout-path", &["serial1:115200n8"])
        .end()
        .begin("bus")
        .texts("compatible", &["simple-bus"])
        .begin("port@10")
        .texts("compatible", &["maker,port-v2", "maker,port"])
        .numbers("clocks", &[1, 5, 6, 2, 0])
        .numbers("reset-gpios", &[2, 9])
        .numbers("resets", &[3])
        .end()
        .end()
        .begin("serial@7")
        .texts("status", &["disabled"])
        .end()
        .begin("clock")
        .numbers("phandle", &[1])
        .numbers("#clock-cells", &[2])
        .end()
        .begin("pins")
        .numbers("phandle", &[2])
        .numbers("#gpio-cells", &[1])
        .end()
        .begin("off")
        .texts("status", &["disabled"])
        .numbers("phandle", &[3])
        .end()
        .end()
        .finish()
}

#[test]
fn what_a_node_needs_is_what_it_stands_on_and_who_supplies_it() {
    let tree = Tree::parse(&bytes()).unwrap();
    let paths = |places: Vec<Place>| -> Vec<String> {
        places.into_iter().map(|place| tree.path(place)).collect()
    };
    let (port, console) = (tree.alias("ethernet0").unwrap(), tree.console().unwrap());
    assert_eq!(paths(tree.needs(&[port]).unwrap()), ["/bus/port@10", "/clock", "/pins", "/bus"]);
    assert_eq!(paths(tree.needs(&[console]).unwrap()), ["/serial@7"]);
    assert_eq!((tree.name(port), tree.compatible(port).len()), ("port", 2));
    assert_eq!((tree.is_on(port), tree.is_on(console)), (true, false));
    assert_eq!(tree.alias("ethernet1"), None);
}

#[test]
fn a_supplier_that_is_not_there_is_an_error() {
    let writer = Writer::default().begin("").begin("port").numbers("clocks", &[7]).end();
    let tree = Tree::parse(&writer.end().finish()).unwrap();
    let error = tree.needs(&[1]).unwrap_err();
    assert_eq!(error.to_string(), "/port: clocks names nobody");
}

#[test]
fn every_truncation_is_an_error_or_a_tree() {
    let whole = bytes();
    for length in 0..whole.len() {
        if let Ok(tree) = Tree::parse(&whole[..length]) {
            assert!(tree.nodes.len() > 1, "{length}");
        }
    }
    assert!(Tree::parse(b"MZ").is_err());
}
