//! safetensors: what others wrote, all dtypes, shards, trees, and messages.

use crate::{assert_counts, assert_of_file, assert_same, data, every_dtype, folder, foreign_name};
use std::collections::BTreeMap;
use tracewright::io::safetensors::{Checkpoint, Save, load, load_into, save};
use tracewright::io::{Fit, Fitted};
use tracewright::{Code, DType, Generator, Tensor, Tree, jit, nn};

#[test]
fn what_pytorch_wrote() {
    let tensors = load(data("torch.safetensors")).unwrap();
    for dtype in DType::ALL.into_iter().filter(|d| *d != DType::Bool) {
        assert_counts(&tensors[&foreign_name(dtype)], dtype, dtype.name());
    }
    assert_eq!(tensors["bool"].to_vec::<bool>().unwrap(), [true, false, true]);
    assert_eq!(tensors["scalar"].item::<f32>().unwrap(), 2.5);
    assert_eq!(tensors["empty"].try_type().unwrap().to_string(), "f32[0, 4]");
    assert_eq!(tensors.len(), 15);
    assert_eq!(Checkpoint::open(data("torch.safetensors")).unwrap().metadata()["format"], "pt");
}

#[test]
fn every_dtype_comes_back_with_its_bits() {
    let folder = folder();
    let path = folder.path().join("all.safetensors");
    let tensors: BTreeMap<String, Tensor> = every_dtype().into_iter().collect();
    save(&path, &tensors).unwrap();
    let again = load(&path).unwrap();
    assert_eq!(again.len(), tensors.len());
    tensors.iter().for_each(|(name, t)| assert_same(&again[name], t, name));
}

#[test]
fn elements_are_those_of_the_file_until_they_are_needed_elsewhere() {
    let folder = folder();
    let path = folder.path().join("x.safetensors");
    save(&path, &BTreeMap::from([("x".to_string(), Tensor::from([1.0f32, 2.0, 3.0]))])).unwrap();
    let x = load(&path).unwrap()["x"].clone();
    assert_of_file(&x, true);
    // Replacing the file leaves what was read as it is, and so does a call that donates it.
    save(&path, &BTreeMap::from([("x".to_string(), Tensor::from([7.0f32, 8.0, 9.0]))])).unwrap();
    let step = jit(|x: Tensor, y: Tensor| (&x + y, x.sum(..)));
    let mut state = x.clone();
    let sum = step.call_mut(&mut state, Tensor::from(1.0f32)).unwrap();
    assert_eq!(sum.item::<f32>().unwrap(), 6.0);
    assert_eq!(state.to_vec::<f32>().unwrap(), [2.0, 3.0, 4.0]);
    assert_eq!(x.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0]);
    let mut alone = load(&path).unwrap().remove("x").unwrap();
    let add = jit(|x: Tensor, y: Tensor| (&x + &y, y));
    add.call_mut(&mut alone, Tensor::from(1.0f32)).unwrap();
    assert_eq!(alone.to_vec::<f32>().unwrap(), [8.0, 9.0, 10.0]);
    assert_eq!(load(&path).unwrap()["x"].to_vec::<f32>().unwrap(), [7.0, 8.0, 9.0]);
}

/// Elements that begin anywhere are read, computed with and multiplied.
#[test]
fn elements_that_are_not_aligned() {
    let folder = folder();
    let model = Tensor::from((0..70).map(|i| i as f32).collect::<Vec<_>>().as_slice()).reshape([10, 7]);
    for shift in 0..4usize {
        // The header may be followed by any number of spaces, so data begin anywhere.
        let path = folder.path().join(format!("{shift}.safetensors"));
        save(&path, &BTreeMap::from([("x".to_string(), model.clone())])).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        bytes[..8].copy_from_slice(&(length + shift as u64).to_le_bytes());
        bytes.splice(8 + length as usize..8 + length as usize, std::iter::repeat_n(b' ', shift));
        std::fs::write(&path, bytes).unwrap();
        let x = load(&path).unwrap()["x"].clone();
        assert_of_file(&x, shift == 0);
        assert_same(&x.t().matmul(&x), &model.t().matmul(&model), "product");
        assert_same(&x.exp().sum(1), &model.exp().sum(1), "sum");
    }
}

#[derive(Tree)]
struct Net {
    first: nn::Linear,
    rest: Vec<nn::Linear>,
    mean: nn::Buffer,
    generator: Generator,
}

fn net(seed: u64) -> Net {
    let g = Generator::new(seed);
    let mean = nn::Buffer::new(Tensor::from([seed as f32]));
    Net { first: nn::Linear::new(3, 4, &g), rest: vec![nn::Linear::new(4, 2, &g)], mean, generator: g }
}

#[test]
fn a_model_goes_out_and_in_by_its_paths_cells_too() {
    let folder = folder();
    let path = folder.path().join("net.safetensors");
    let (a, mut b) = (net(1), net(2));
    save(&path, &a).unwrap();
    let names: Vec<String> = Checkpoint::open(&path).unwrap().names().map(String::from).collect();
    assert_eq!(names, ["first.bias", "first.weight", "generator", "mean", "rest.0.bias", "rest.0.weight"]);
    load_into(&mut b, &path).unwrap();
    assert_same(&a.first.weight, &b.first.weight, "weight");
    assert_eq!(b.mean.get().to_vec::<f32>().unwrap(), [1.0]);
    assert_same(&a.generator.normal([3], 0.0, 1.0), &b.generator.normal([3], 0.0, 1.0), "the same numbers follow");
}

#[test]
fn everything_that_does_not_fit_is_listed_and_nothing_changes() {
    let folder = folder();
    let path = folder.path().join("net.safetensors");
    save(&path, &net(1)).unwrap();
    let mut tensors = load(&path).unwrap();
    tensors.insert("head.weight".into(), Tensor::from([1i64]));
    tensors.insert("first.weight".into(), Tensor::from([1.0f32]));
    tensors.insert("mean".into(), Tensor::from([5.0f64]));
    tensors.remove("first.bias");
    save(&path, &tensors).unwrap();
    let mut model = net(2);
    let before = model.first.weight.to_vec::<f32>().unwrap();
    let e = load_into(&mut model, &path).unwrap_err();
    assert_eq!(e.code(), Code::File);
    let text = e.to_string().replace(&path.display().to_string(), "FILE");
    assert_eq!(
        text,
        "error[file]: safetensors::load_into: tensors of FILE do not fit the tree: 1 missing, 1 unexpected, 2 of another type
  legal: Fit::partial, Fit::convert
  note: missing: first.bias: f32[4]
  note: unexpected: head.weight: i64[1]
  note: type: first.weight is f32[1], wanted f32[4, 3]
  note: type: mean is f64[1], wanted f32[1]"
    );
    assert_eq!(model.first.weight.to_vec::<f32>().unwrap(), before);

    tensors.remove("first.weight");
    save(&path, &tensors).unwrap();
    let fit = Fit::new().partial().convert();
    let fitted = Checkpoint::open(&path).unwrap().load_into(&mut model, fit).unwrap();
    let names = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
    let missing = names(&["first.weight", "first.bias"]);
    assert_eq!(fitted, Fitted { missing, unexpected: names(&["head.weight"]) });
    assert_eq!(model.mean.get().to_vec::<f32>().unwrap(), [5.0]);
}

#[test]
fn tied_leaves_stay_tied() {
    let folder = folder();
    let path = folder.path().join("tied.safetensors");
    let tied = |x: f32| {
        let t = Tensor::from([x, x + 1.0]);
        BTreeMap::from([("embed".to_string(), t.clone()), ("head".to_string(), t)])
    };
    save(&path, &tied(1.0)).unwrap();
    let mut model = tied(5.0);
    load_into(&mut model, &path).unwrap();
    assert!(model["embed"].to_array().unwrap().shares_with(&model["head"].to_array().unwrap()));
    // Hugging Face writes one name only.
    save(&path, &BTreeMap::from([("embed".to_string(), Tensor::from([8.0f32, 9.0]))])).unwrap();
    load_into(&mut model, &path).unwrap();
    assert_eq!(model["head"].to_vec::<f32>().unwrap(), [8.0, 9.0]);
}

#[test]
fn shards() {
    let folder = folder();
    let model: BTreeMap<String, Tensor> =
        (0..5).map(|i| (format!("layer.{i}"), Tensor::full([100], i as f32, DType::F32))).collect();
    let path = folder.path().join("model.safetensors");
    Save::new().metadata("format", "pt").shards(900).write(&path, &model).unwrap();
    let mut files: Vec<String> =
        folder.path().read_dir().unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let shard = |i| format!("model-0000{i}-of-00003.safetensors");
    assert_eq!(files, [shard(1), shard(2), shard(3), "model.safetensors.index.json".into()]);
    for place in [folder.path().to_path_buf(), folder.path().join("model.safetensors.index.json")] {
        let all = load(&place).unwrap();
        assert_eq!(all.len(), 5);
        assert_eq!(all["layer.3"].to_vec::<f32>().unwrap(), [3.0; 100]);
    }
    let about = Checkpoint::open(folder.path()).unwrap();
    assert_eq!((about.metadata()["total_size"].as_str(), about.metadata()["format"].as_str()), ("2000", "pt"));

    std::fs::remove_file(folder.path().join(shard(2))).unwrap();
    let message = |place: &std::path::Path| {
        let text = load(place).unwrap_err().to_string();
        text.replace(&folder.path().display().to_string(), "FOLDER")
    };
    assert_eq!(
        message(folder.path()),
        "error[file]: safetensors::open: FOLDER/model-00002-of-00003.safetensors: No such file or directory (os error 2)"
    );
    let index = folder.path().join("x.safetensors.index.json");
    for (text, wanted) in [
        (r#"{"weight_map": {"a": "../secret"}}"#, "it names the file `../secret`\n  legal: files beside the index"),
        (r#"{"weight_map": {"a": "/etc/passwd"}}"#, "it names the file `/etc/passwd`\n  legal: files beside the index"),
        (r#"{"weight_map": {"a": ""}}"#, "it names the file ``\n  legal: files beside the index"),
        (
            r#"{"weight_map": {"a": "model-00001-of-00003.safetensors"}}"#,
            "`model-00001-of-00003.safetensors` does not have a\n  legal: an index of safetensors",
        ),
        ("{}", "missing field `weight_map` at line 1 column 2\n  legal: an index of safetensors"),
    ] {
        std::fs::write(&index, text).unwrap();
        assert_eq!(
            message(&index),
            format!("error[file]: safetensors::open: FOLDER/x.safetensors.index.json: {wanted}")
        );
    }
}

#[test]
fn messages() {
    let folder = folder();
    let message = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        load(&path).unwrap_err().to_string().replace(&folder.path().display().to_string(), "FOLDER")
    };
    let e = load(data("fp8.safetensors")).unwrap_err().to_string();
    assert!(e.contains("fp8.safetensors: tensor `b` has elements of type F8_E4M3\n  legal: one of f64, f32"), "{e}");
    assert_eq!(
        Checkpoint::open(data("fp8.safetensors")).unwrap().tensor("a").unwrap().to_vec::<f32>().unwrap(),
        [1.0; 2]
    );
    assert!(load(folder.path().join("none")).unwrap_err().to_string().contains("none: No such file or directory"));
    assert!(load(folder.path()).unwrap_err().to_string().contains("the folder has no safetensors"));
    assert!(save(folder.path().join("no/x"), &Tensor::from(1.0f32)).unwrap_err().to_string().contains("no/x: "));
    let whole = "legal: a whole file of safetensors";
    let expected = |what: &str| format!("error[file]: safetensors::open: FOLDER/x: no safetensors: {what}\n  {whole}");
    assert_eq!(message("x", b""), expected("header too small"));
    assert_eq!(message("x", &u64::MAX.to_le_bytes()), expected("header too large"));
    let huge = |shape: &str| {
        let json = format!(r#"{{"a":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,4]}}}}"#);
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &[0; 4]].concat()
    };
    assert!(message("x", &huge("4611686018427387904,4")).contains("no safetensors"));
    assert!(message("x", &huge("2")).contains("no safetensors"));
    let json = r#"{"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}"#;
    let e = message("x", &[&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &[7]].concat());
    assert!(e.contains("byte 0 of a bool buffer is 7") && e.contains("tensor `a` of FOLDER/x"), "{e}");
}
