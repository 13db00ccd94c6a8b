//! Buckets, and what R2 says of them all alike.

use super::*;

impl Api {
    pub(super) async fn list_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let found = self.call(|store| Ok(store.buckets()?)).await?;
        let prefix = req.input.prefix.clone().unwrap_or_default();
        let buckets = found.into_iter().filter(|(name, _)| name.starts_with(&prefix));
        let buckets = buckets.map(|(name, made)| Bucket {
            name: Some(name),
            creation_date: Some(Timestamp::from(made)),
            bucket_region: None,
        });
        let output = ListBucketsOutput {
            buckets: Some(buckets.collect()),
            prefix: req.input.prefix,
            ..ListBucketsOutput::default()
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = req.input.bucket;
        let location = Some(format!("/{bucket}"));
        self.call(move |store| store.create_bucket(&bucket)).await?;
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    pub(super) async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.call(move |store| store.delete_bucket(&req.input.bucket)).await?;
        Ok(S3Response::new(DeleteBucketOutput {}))
    }

    pub(super) async fn head_bucket(
        &self,
        req: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    pub(super) async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        let location = BucketLocationConstraint::from("auto".to_owned());
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint: Some(location) }))
    }

    pub(super) async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }

    pub(super) async fn get_bucket_encryption(
        &self,
        req: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        let always = ServerSideEncryptionByDefault {
            sse_algorithm: ServerSideEncryption::from_static(ServerSideEncryption::AES256),
            kms_master_key_id: None,
        };
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(always),
            bucket_key_enabled: Some(true),
        };
        let configuration = ServerSideEncryptionConfiguration { rules: vec![rule] };
        Ok(S3Response::new(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(configuration),
        }))
    }

    pub(super) async fn get_bucket_tagging(
        &self,
        req: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        Err(Refusal::NoSuchTagSet.into())
    }

    pub(super) async fn get_object_lock_configuration(
        &self,
        req: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        Err(Refusal::NoObjectLockConfiguration.into())
    }

    pub(super) async fn get_bucket_replication(
        &self,
        req: S3Request<GetBucketReplicationInput>,
    ) -> S3Result<S3Response<GetBucketReplicationOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        Err(Refusal::NoReplicationConfiguration.into())
    }
}
