//! Errors by code.

/// The name of an error, where it is one that clients meet.
pub(super) fn name(code: u16) -> Option<&'static str> {
    let at = NAMES.binary_search_by_key(&code, |(code, _)| *code).ok()?;
    Some(NAMES[at].1)
}

/// By code.
#[rustfmt::skip]
static NAMES: [(u16, &str); 101] = [
    (1, "InternalError"), (2, "BadValue"), (4, "NoSuchKey"), (5, "GraphContainsCycle"),
    (6, "HostUnreachable"), (7, "HostNotFound"), (8, "UnknownError"), (9, "FailedToParse"),
    (10, "CannotMutateObject"), (11, "UserNotFound"), (13, "Unauthorized"), (14, "TypeMismatch"),
    (15, "Overflow"), (16, "InvalidLength"), (17, "ProtocolError"), (18, "AuthenticationFailed"),
    (19, "CannotReuseObject"), (20, "IllegalOperation"), (21, "EmptyArrayOperation"), (22, "InvalidBSON"),
    (24, "LockTimeout"), (26, "NamespaceNotFound"), (27, "IndexNotFound"), (28, "PathNotViable"),
    (31, "RoleNotFound"), (34, "CannotBackfillArray"), (38, "FileNotOpen"),
    (40, "ConflictingUpdateOperators"), (43, "CursorNotFound"), (46, "LockBusy"),
    (47, "NoMatchingDocument"), (48, "NamespaceExists"), (50, "MaxTimeMSExpired"),
    (51, "ManualInterventionRequired"), (52, "DollarPrefixedFieldName"), (53, "InvalidIdField"),
    (55, "InvalidDBRef"), (56, "EmptyFieldName"), (57, "DottedFieldName"), (59, "CommandNotFound"),
    (61, "ShardKeyNotFound"), (62, "OplogOperationUnsupported"), (63, "StaleShardVersion"),
    (64, "WriteConcernFailed"), (65, "MultipleErrorsOccurred"), (66, "ImmutableField"),
    (67, "CannotCreateIndex"), (68, "IndexAlreadyExists"), (70, "ShardNotFound"), (72, "InvalidOptions"),
    (73, "InvalidNamespace"), (74, "NodeNotFound"), (76, "NoReplicationEnabled"),
    (79, "UnknownReplWriteConcern"), (85, "IndexOptionsConflict"), (86, "IndexKeySpecsConflict"),
    (89, "NetworkTimeout"), (91, "ShutdownInProgress"), (94, "NotYetInitialized"), (96, "OperationFailed"),
    (100, "UnsatisfiableWriteConcern"), (103, "NewReplicaSetConfigurationIncompatible"),
    (104, "NodeNotElectable"), (105, "IncompatibleShardingMetadata"), (107, "DistributedClockSkewed"),
    (109, "ConfigurationInProgress"), (112, "WriteConflict"), (115, "CommandNotSupported"),
    (116, "DocTooLargeForCapped"), (117, "ConflictingOperationInProgress"),
    (121, "DocumentValidationFailure"), (123, "NotAReplicaSet"), (125, "CommandFailed"),
    (133, "FailedToSatisfyReadPreference"), (134, "ReadConcernMajorityNotAvailableYet"),
    (136, "CappedPositionLost"), (146, "ExceededMemoryLimit"), (150, "StaleEpoch"),
    (160, "ViewDepthLimitExceeded"), (166, "CommandNotSupportedOnView"), (189, "PrimarySteppedDown"),
    (202, "NetworkInterfaceExceededTimeLimit"), (211, "KeyNotFound"), (222, "CloseChangeStream"),
    (225, "TransactionTooOld"), (234, "RetryChangeStream"), (237, "CursorKilled"), (238, "NotImplemented"),
    (244, "TransactionAborted"), (251, "NoSuchTransaction"), (256, "TransactionCommitted"),
    (262, "ExceededTimeLimit"), (263, "OperationNotSupportedInTransaction"), (10107, "NotWritablePrimary"),
    (11000, "DuplicateKey"), (11600, "InterruptedAtShutdown"), (11601, "Interrupted"),
    (11602, "InterruptedDueToReplStateChange"), (13388, "StaleConfig"), (13435, "NotPrimaryNoSecondaryOk"),
    (13436, "NotPrimaryOrSecondary"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_code() {
        assert!(NAMES.is_sorted_by_key(|(code, _)| *code));
        assert_eq!(name(11000), Some("DuplicateKey"));
        assert_eq!(name(3), None);
    }
}
