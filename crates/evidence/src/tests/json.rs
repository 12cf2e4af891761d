use super::worked;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn the_worked_pack() {
    let document = parsed(&worked::pack().to_json());
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
}

#[test]
fn the_hash_is_over_the_content_as_it_stands() {
    let pack = worked::pack();
    let bytes = pack.to_json();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let content = text.split_once("\"content\":").unwrap().1.strip_suffix("}\n").unwrap();
    let stated = parsed(&bytes)["content_sha256"].as_str().unwrap().to_owned();
    assert_eq!(hex::encode(Sha256::digest(content)), stated);
    assert_eq!(hex::encode(pack.content_sha256()), stated);
}

#[test]
fn the_same_pack_gives_the_same_bytes_and_another_pack_other_ones() {
    assert_eq!(worked::pack().to_json(), worked::pack().to_json());
    let mut other = worked::pack();
    other.timeline[0].what.push('!');
    assert_ne!(other.content_sha256(), worked::pack().content_sha256());
}

#[test]
fn a_changed_transaction_is_told() {
    let mut pack = worked::pack();
    pack.grant.transactions[1].entries[0].amount += domain::Credits::whole(1);
    let checked = &parsed(&pack.to_json())["content"]["journal_proof"]["checked"];
    let holds: Vec<bool> = checked.as_array().unwrap().iter().map(|it| it["holds"] == true).collect();
    assert_eq!(holds, [true, false, true]);
}
