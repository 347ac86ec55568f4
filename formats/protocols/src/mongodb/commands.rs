//! Commands by name.

/// A command that servers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: &'static str,
    /// The value of its first element names a collection.
    pub(super) of_collection: bool,
}

/// Those of a collection.
#[rustfmt::skip]
static OF_COLLECTIONS: [&str; 44] = [
    "aggregate", "analyze", "analyzeShardKey", "checkShardingIndex", "cleanupOrphaned", "clone", "collMod",
    "collStats", "collstats", "compact", "compactStructuredEncryptionData", "convertToCapped", "count",
    "create", "createIndexes", "createSearchIndexes", "dataSize", "delete", "deleteIndexes", "distinct",
    "drop", "dropIndexes", "dropSearchIndex", "filemd5", "find", "findAndModify", "findandmodify",
    "geoNear", "geoSearch", "getShardVersion", "group", "insert", "killCursors", "listIndexes", "mapReduce",
    "mapreduce", "parallelCollectionScan", "planCacheClear", "planCacheListFilters", "reIndex",
    "renameCollection", "update", "updateSearchIndex", "validate",
];

/// Others.
#[rustfmt::skip]
static OTHERS: [&str; 110] = [
    "abortTransaction", "addShard", "addShardToZone", "appendOplogNote", "applyOps", "atlasVersion",
    "authenticate", "balancerStart", "balancerStatus", "balancerStop", "buildInfo", "buildinfo",
    "bulkWrite", "clearJumboFlag", "commitTransaction", "configureFailPoint", "connPoolStats",
    "connPoolSync", "connectionStatus", "createRole", "createUser", "currentOp", "dbHash", "dbStats",
    "dbhash", "dbstats", "dropAllRolesFromDatabase", "dropAllUsersFromDatabase", "dropConnections",
    "dropDatabase", "dropRole", "dropUser", "enableSharding", "endSessions", "explain", "features",
    "flushRouterConfig", "forceerror", "fsync", "fsyncUnlock", "getCmdLineOpts", "getDefaultRWConcern",
    "getLastError", "getLog", "getMore", "getParameter", "getPrevError", "getShardMap", "getlasterror",
    "getnonce", "grantPrivilegesToRole", "grantRolesToRole", "grantRolesToUser", "hello", "hostInfo",
    "invalidateUserCache", "isMaster", "isdbgrid", "ismaster", "killAllSessions",
    "killAllSessionsByPattern", "killOp", "killSessions", "listCollections", "listCommands",
    "listDatabases", "listShards", "lockInfo", "logRotate", "logout", "moveChunk", "movePrimary", "netstat",
    "ping", "profile", "refreshSessions", "removeShard", "replSetAbortPrimaryCatchUp", "replSetFreeze",
    "replSetGetConfig", "replSetGetStatus", "replSetHeartbeat", "replSetInitiate", "replSetMaintenance",
    "replSetReconfig", "replSetRequestVotes", "replSetResizeOplog", "replSetStepDown", "replSetSyncFrom",
    "replSetUpdatePosition", "resetError", "revokePrivilegesFromRole", "revokeRolesFromRole",
    "revokeRolesFromUser", "rolesInfo", "saslContinue", "saslStart", "serverStatus", "setDefaultRWConcern",
    "setFeatureCompatibilityVersion", "setParameter", "shardCollection", "shutdown", "split",
    "startSession", "top", "updateRole", "updateUser", "usersInfo", "whatsmyuri",
];

/// The command of this name.
pub(super) fn of(name: &[u8]) -> Option<Command> {
    let found = |names: &'static [&'static str]| {
        let at = names.binary_search_by(|known| known.as_bytes().cmp(name)).ok()?;
        Some(names[at])
    };
    let command = |of_collection| move |name| Command { name, of_collection };
    found(&OF_COLLECTIONS).map(command(true)).or_else(|| found(&OTHERS).map(command(false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_by_name() {
        assert!(OF_COLLECTIONS.is_sorted() && OTHERS.is_sorted());
        assert_eq!(of(b"find"), Some(Command { name: "find", of_collection: true }));
        assert_eq!(of(b"hello"), Some(Command { name: "hello", of_collection: false }));
        assert_eq!(of(b"finds"), None);
    }
}
