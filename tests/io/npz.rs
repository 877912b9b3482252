//! npz and npy: what NumPy wrote, all dtypes, and messages.

use crate::{assert_counts, assert_of_file, assert_same, data, every_dtype, folder, foreign_name};
use std::collections::BTreeMap;
use tracewright::io::{Fit, npy, npz};
use tracewright::{DType, Tensor};

#[test]
fn what_numpy_wrote() {
    for file in ["stored.npz", "compressed.npz"] {
        let arrays = npz::load(data(file)).unwrap();
        for dtype in DType::ALL.into_iter().filter(|d| !matches!(d, DType::Bool | DType::BF16)) {
            assert_counts(&arrays[&foreign_name(dtype)], dtype, dtype.name());
        }
        assert_eq!(arrays["bool"].to_vec::<bool>().unwrap(), [true, false, true]);
        assert_eq!(arrays["scalar"].item::<f32>().unwrap(), 2.5);
        assert_eq!(arrays["empty"].try_type().unwrap().to_string(), "f32[0, 4]");
        assert_eq!(arrays["big"].to_vec::<f32>().unwrap(), [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]);
        assert_same(
            &arrays["fortran"],
            &Tensor::from((0..24).collect::<Vec<i32>>().as_slice()).reshape([2, 3, 4]),
            "F",
        );
        assert_same(&arrays["bfloat16"], &Tensor::from([0.5f32, -3.0]).to_dtype(DType::BF16), "bfloat16");
        assert_eq!(arrays.len(), 17);
    }
    let positions = npz::load(data("positions.npz")).unwrap();
    assert_eq!(positions.keys().collect::<Vec<_>>(), ["arr_0", "arr_1"]);
    for version in 1..=3 {
        let x = npy::load(data(&format!("version{version}.npy"))).unwrap();
        assert_same(&x, &Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]), "version");
    }
}

#[test]
fn every_dtype_comes_back_with_its_bits() {
    let folder = folder();
    let mut tensors: BTreeMap<String, Tensor> = every_dtype().into_iter().collect();
    tensors.insert("scalar".into(), Tensor::from(3i16));
    tensors.insert("one axis".into(), Tensor::from([1u8]));
    tensors.insert("empty".into(), Tensor::zeros([2, 0], DType::F16));
    npz::save(folder.path().join("stored.npz"), &tensors).unwrap();
    npz::save_compressed(folder.path().join("compressed.npz"), &tensors).unwrap();
    for file in ["stored.npz", "compressed.npz"] {
        let again = npz::load(folder.path().join(file)).unwrap();
        assert_eq!(again.len(), tensors.len());
        tensors.iter().for_each(|(name, t)| assert_same(&again[name], t, name));
    }
    for (name, t) in &tensors {
        let path = folder.path().join("x.npy");
        npy::save(&path, t).unwrap();
        let again = npy::load(&path).unwrap();
        assert_same(&again, t, name);
        let empty = t.try_shape().unwrap().iter().any(|d| d.known() == Some(0));
        // Truth values are copied: the file may get bytes that are none.
        let mapped = !empty && t.dtype() != DType::Bool;
        assert_of_file(&again, mapped);
    }
    let mut model = (Tensor::from(0.0f32), vec![Tensor::from(1i64)]);
    npz::save(folder.path().join("tree.npz"), &model).unwrap();
    npz::load_into(&mut model, folder.path().join("tree.npz"), Fit::new()).unwrap();
    assert_eq!(model.1[0].item::<i64>().unwrap(), 1);
}

fn npy_file(version: u8, header: &str, elements: usize) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    bytes.extend(header.bytes());
    bytes.extend(std::iter::repeat_n(0, elements));
    bytes
}

#[test]
fn messages() {
    let folder = folder();
    let path = folder.path().join("x.npy");
    let rule = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let e = npy::load(&path).unwrap_err();
        e.rule().strip_prefix(&format!("{}: ", path.display())).unwrap_or(e.rule()).to_string()
    };
    let e = npy::load(data("objects.npy")).unwrap_err();
    assert!(e.rule().ends_with("objects.npy: its elements are Python objects (a pickle), which are not read"), "{e}");
    assert_eq!(e.legal(), "an array of bools, integers or floats as numpy.save writes it");
    assert_eq!(rule(b"PK"), "it is no .npy");
    assert_eq!(rule(b"\x93NUMPY\x01\x00\xff\xff"), "it ends in its header");
    assert_eq!(rule(&npy_file(4, "", 0)), "version 4 of .npy is not known; 1 to 3 are");
    assert_eq!(
        rule(b"\x93NUMPY\x02\x00\xff\xff\xff\xff"),
        "a header of 4294967295 bytes; an array takes at most 65536"
    );
    let of = |descr: &str, shape: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}");
    for (descr, shape, wanted) in [
        ("'<c8'", "(2,)", "its elements are of NumPy's type `<c8`, which is no dtype here"),
        ("'<U3'", "(2,)", "its elements are of NumPy's type `<U3`, which is no dtype here"),
        ("[('a', '<f4')]", "(2,)", "its elements are structs"),
        ("'<f4'", "(3,)", "f32[3] takes 12 bytes, there are 8"),
        ("'<f4'", "(1,)", "f32[1] takes 4 bytes, there are 8"),
        (
            "'<f4'",
            "(4294967296, 4294967296)",
            "f32[4294967296, 4294967296] takes more bytes than can be counted, there are 8",
        ),
        ("'<f4'", "(99999999999999999999,)", "its shape is no tuple of numbers"),
        ("'<f4'", "(-1,)", "its shape is no tuple of numbers"),
        ("'|b1'", "(8,)", "read"),
    ] {
        let bytes = npy_file(1, &of(descr, shape), 8);
        if wanted == "read" {
            std::fs::write(&path, bytes).unwrap();
            npy::load(&path).unwrap();
        } else {
            assert_eq!(rule(&bytes), wanted);
        }
    }
    assert_eq!(rule(&npy_file(1, &of("'<f4'", &format!("({})", "1,".repeat(65))), 4)), "it has more than 64 axes");
    assert_eq!(rule(&npy_file(1, "{'descr': '<f4', 'shape': ()}", 4)), "its header has no `fortran_order`");
    assert_eq!(rule(&npy_file(1, "{'descr': '<f4'", 4)), "its header lacks a `}`");
    assert_eq!(rule(&npy_file(1, "{'x': '<f4'}", 4)), "its header has an unknown `x`");

    let text = npz::load(data("version1.npy")).unwrap_err().to_string();
    assert!(text.contains("version1.npy: it is no .npz"), "{text}");
    let text = npz::load(folder.path().join("none.npz")).unwrap_err().to_string();
    assert!(text.contains("none.npz: No such file or directory"), "{text}");
}

/// A zip of one stored entry in the form for what is beyond 4 GiB: 64-bit sizes and places everywhere, also in the directory
/// and its end; `size` is what the entry is said to have.
fn zip64(name: &str, content: &[u8], size: u64) -> Vec<u8> {
    let crc = crc32fast::hash(content);
    let all_ones = u32::MAX.to_le_bytes();
    let extra = |fields: &[u64]| {
        let mut bytes = [1u16.to_le_bytes(), (8 * fields.len() as u16).to_le_bytes()].concat();
        fields.iter().for_each(|f| bytes.extend(f.to_le_bytes()));
        bytes
    };
    // Version 4.5, no flags, stored, a time and a day.
    let common = |bytes: &mut Vec<u8>, extra: &[u8]| {
        [45u16, 0, 0, 0, 33].iter().for_each(|n| bytes.extend(n.to_le_bytes()));
        bytes.extend(crc.to_le_bytes());
        bytes.extend([all_ones, all_ones].concat());
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend((extra.len() as u16).to_le_bytes());
    };
    let mut zip = b"PK\x03\x04".to_vec();
    let local = extra(&[size, size]);
    common(&mut zip, &local);
    zip.extend([name.as_bytes(), &local, content].concat());
    let directory = zip.len() as u64;
    let central = extra(&[size, size, 0]);
    zip.extend(b"PK\x01\x02");
    zip.extend(45u16.to_le_bytes());
    common(&mut zip, &central);
    // No comment, the first disk, no attributes; where the entry is stands behind.
    zip.extend([0; 10]);
    zip.extend(all_ones);
    zip.extend([name.as_bytes(), &central].concat());
    let end = zip.len() as u64;
    zip.extend(b"PK\x06\x06");
    zip.extend(44u64.to_le_bytes());
    zip.extend([45u16.to_le_bytes(); 2].concat());
    zip.extend([0; 8]);
    [1, 1, end - directory, directory].iter().for_each(|n| zip.extend(u64::to_le_bytes(*n)));
    zip.extend(b"PK\x06\x07");
    zip.extend(0u32.to_le_bytes());
    zip.extend(end.to_le_bytes());
    zip.extend(1u32.to_le_bytes());
    zip.extend(b"PK\x05\x06");
    zip.extend([0; 4]);
    zip.extend([0xff; 12]);
    zip.extend([0; 2]);
    zip
}

#[test]
fn the_form_for_large_archives() {
    let folder = folder();
    let path = folder.path().join("large.npz");
    let array = npy_file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 8);
    std::fs::write(&path, zip64("x.npy", &array, array.len() as u64)).unwrap();
    assert_eq!(npz::load(&path).unwrap()["x"].to_vec::<f32>().unwrap(), [0.0; 2]);
    // More than there is: an error, and no memory for it.
    for size in [1 << 33, 1 << 62, u64::MAX] {
        std::fs::write(&path, zip64("x.npy", &array, size)).unwrap();
        let e = npz::load(&path).unwrap_err().to_string();
        assert!(e.starts_with("error[file]: npz::load: "), "{size}: {e}");
    }
}

/// What is stored has a sum, which is compared.
#[test]
fn bytes_that_have_changed() {
    let folder = folder();
    let path = folder.path().join("x.npz");
    npz::save(&path, &BTreeMap::from([("x".to_string(), Tensor::from([1.5f32, 2.5]))])).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|w| w == 1.5f32.to_le_bytes()).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let e = npz::load(&path).unwrap_err().to_string();
    assert!(e.contains("`x.npy`") && e.to_lowercase().contains("checksum"), "{e}");
}
