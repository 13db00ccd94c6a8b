//! Listings of objects, in both versions.

use super::*;

impl Api {
    pub(super) async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let unknown = || Refusal::InvalidArgument("The continuation token provided is incorrect".into());
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Some(After::from_token(token).ok_or_else(unknown)?),
            (None, Some(key)) => Some(After::Key(key.clone())),
            (None, None) => None,
        };
        let max_keys = max_keys(input.max_keys)?;
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let name = |name: String| encoding.name(name);
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after,
            max_keys,
        };
        let (page, objects) = self.page(input.bucket.clone(), query).await?;
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix.map(name),
            max_keys: to_i32(max_keys),
            key_count: to_i32(page.entries()),
            is_truncated: Some(page.truncated),
            next_continuation_token: page.next.map(|next| next.to_token()),
            continuation_token: input.continuation_token,
            start_after: input.start_after.map(name),
            delimiter: input.delimiter.map(name),
            encoding_type: input.encoding_type,
            contents: Some(objects.into_iter().map(|object| encoding.entry(object)).collect()),
            common_prefixes: Some(encoding.prefixes(page.prefixes)),
            ..ListObjectsV2Output::default()
        }))
    }

    pub(super) async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = req.input;
        let max_keys = max_keys(input.max_keys)?;
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let name = |name: String| encoding.name(name);
        let marker = input.marker.as_deref().filter(|marker| !marker.is_empty());
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: marker.map(|marker| After::from_marker(marker, input.delimiter.as_deref())),
            max_keys,
        };
        let (page, objects) = self.page(input.bucket.clone(), query).await?;
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: input.prefix.map(name),
            marker: Some(name(input.marker.unwrap_or_default())),
            max_keys: to_i32(max_keys),
            is_truncated: Some(page.truncated),
            next_marker: page.next.map(|next| name(next.name().to_owned())),
            delimiter: input.delimiter.map(name),
            encoding_type: input.encoding_type,
            contents: Some(objects.into_iter().map(|object| encoding.entry(object)).collect()),
            common_prefixes: Some(encoding.prefixes(page.prefixes)),
            ..ListObjectsOutput::default()
        }))
    }
}
