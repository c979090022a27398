//! The few protobuf fields that are written by hand, so that bodies which are encoded already are wrapped and
//! not encoded again. Field numbers are those of `envoy.service.discovery.v3` and `google.protobuf.Any`.

use bytes::{BufMut, Bytes};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::kind::Kind;
use super::rope::Rope;

/// A string field.
pub fn put_string(field: u32, text: &str, into: &mut Vec<u8>) {
    put_header(field, text.len(), into);
    into.put_slice(text.as_bytes());
}

/// Key and length of a field whose content follows.
pub fn put_header(field: u32, len: usize, into: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, into);
    encode_varint(len as u64, into);
}

/// What [`put_header`] and the content take together.
pub fn field_len(field: u32, len: usize) -> usize {
    key_len(field) + encoded_len_varint(len as u64) + len
}

/// What stands before a body in `field` of a message: an `Any` of this kind.
pub fn any_head(field: u32, kind: Kind, body: usize) -> Bytes {
    let url = kind.type_url();
    let mut head = Vec::with_capacity(url.len() + 24);
    put_header(field, field_len(1, url.len()) + field_len(2, body), &mut head);
    put_string(1, url, &mut head);
    put_header(2, body, &mut head);
    head.into()
}

/// What stands before a body in `field` of a message: a delta `Resource` around an `Any`. The body comes last,
/// so that nothing stands behind it.
pub fn resource_head(field: u32, kind: Kind, name: &str, version: &str, body: usize) -> Bytes {
    let url = kind.type_url();
    let any = field_len(1, url.len()) + field_len(2, body);
    let len = field_len(3, name.len()) + field_len(1, version.len()) + field_len(2, any);
    let mut head = Vec::with_capacity(url.len() + name.len() + version.len() + 40);
    put_header(field, len, &mut head);
    put_string(3, name, &mut head);
    put_string(1, version, &mut head);
    put_header(2, any, &mut head);
    put_string(1, url, &mut head);
    put_header(2, body, &mut head);
    head.into()
}

/// Wraps a message that is encoded already as one field of another.
pub fn nested(field: u32, body: &Rope, into: &mut Rope) {
    let mut head = Vec::with_capacity(8);
    put_header(field, body.len(), &mut head);
    into.push(head.into());
    into.append(body);
}
