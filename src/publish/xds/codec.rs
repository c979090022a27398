//! gRPC messages whose responses are encoded already: they are copied to the connection and nothing else.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::rope::Rope;

/// Decodes requests, passes responses on.
pub struct RopeCodec<R>(PhantomData<R>);

impl<R> Default for RopeCodec<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R: Message + Default + Send + 'static> Codec for RopeCodec<R> {
    type Encode = Rope;
    type Decode = R;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<R> Encoder for RopeCodec<R> {
    type Item = Rope;
    type Error = Status;

    fn encode(&mut self, rope: Rope, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.reserve(rope.len());
        rope.write(into);
        Ok(())
    }
}

impl<R: Message + Default> Decoder for RopeCodec<R> {
    type Item = R;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<R>, Status> {
        let decoded = R::decode(from);
        decoded.map(Some).map_err(|error| Status::invalid_argument(format!("the request does not decode: {error}")))
    }
}
