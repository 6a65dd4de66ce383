//! Every law over its seeds, and over what each seed becomes when one byte changes, is missing, or stands
//! twice.

use std::fs;
use std::path::Path;

use laws::LAWS;

#[test]
fn every_law_holds_for_its_seeds_and_what_is_near_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let folders = fs::read_dir(&folder).unwrap().count();
    assert_eq!(folders, LAWS.len(), "each law has seeds, and each folder a law");
    for (name, law) in LAWS {
        let mut seeds: Vec<_> =
            fs::read_dir(folder.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        seeds.sort();
        assert!(seeds.len() >= 3, "{name}");
        for path in seeds {
            let seed = fs::read(&path).unwrap();
            println!("{}", path.display());
            law(&seed);
            law(&seed[..seed.len() / 2]);
            law(&[&seed[..], &seed].concat());
            for at in 0..seed.len() {
                for change in [1, 0x20, 0x80] {
                    let mut changed = seed.clone();
                    changed[at] ^= change;
                    law(&changed);
                }
                let without = [&seed[..at], &seed[at + 1..]].concat();
                law(&without);
                let twice = [&seed[..at], &seed[at..=at], &seed[at..]].concat();
                law(&twice);
            }
        }
    }
}

#[test]
fn a_law_that_is_broken_is_noticed() {
    let law = |data: &[u8]| assert!(data.len() < 3, "too long");
    assert!(std::panic::catch_unwind(|| law(b"abc")).is_err());
    for (_, law) in LAWS {
        law(b"");
        law(&[0xff; 64]);
    }
}

#[test]
fn each_target_of_the_fuzzer_is_a_law() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    for (name, _) in LAWS {
        let target = fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap();
        assert!(target.contains(&format!("laws::law(\"{name}\")(data)")), "{target}");
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), LAWS.len());
}
