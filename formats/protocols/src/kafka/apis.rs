//! What can be asked of Kafka, up to 4.1: names, versions, and how requests and answers are laid out (the
//! message definitions of Kafka, and those of 3.9 for the versions that 4.0 has dropped).

use super::layout::{self, Op};

/// One kind of request.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) key: i16,
    /// What a span of it is called, and its operation.
    pub(super) name: &'static str,
    /// First version whose header and body are flexible (KIP-482).
    pub(super) flexible: u8,
    /// The last version that the layouts tell of.
    pub(super) newest: u8,
    pub(super) request: &'static [Op],
    pub(super) answer: &'static [Op],
}

pub(super) const FETCH: i16 = 1;
pub(super) const METADATA: i16 = 3;
pub(super) const CONTROLLED_SHUTDOWN: i16 = 7;
pub(super) const SASL_HANDSHAKE: i16 = 17;
pub(super) const API_VERSIONS: i16 = 18;
pub(super) const CREATE_TOPICS: i16 = 19;
pub(super) const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;
pub(super) const SHARE_FETCH: i16 = 78;

impl Api {
    /// What this key asks for.
    pub(super) fn of(key: i16) -> Option<&'static Api> {
        APIS.get(usize::try_from(key).ok()?)
    }

    pub(super) fn is_flexible(&self, version: u8) -> bool {
        version >= self.flexible
    }

    /// Whether the header of an answer has tagged fields. That of ApiVersions never has: who asks does not
    /// know yet what is understood.
    pub(super) fn has_flexible_answer(&self, version: u8) -> bool {
        self.is_flexible(version) && self.key != API_VERSIONS
    }

    /// How many first bytes of an answer tell all that is wanted of most of them.
    pub(super) fn answer_head(&self) -> usize {
        match self.key {
            FETCH | SHARE_FETCH => 2048,
            METADATA => 16 * 1024,
            _ => 4096,
        }
    }

    /// Whether an answer tells ids of topics and their names.
    pub(super) fn names_topics(&self) -> bool {
        matches!(self.key, METADATA | CREATE_TOPICS | DESCRIBE_TOPIC_PARTITIONS)
    }
}

macro_rules! apis {
    ($($key:literal $name:literal $flexible:literal $newest:literal $request:literal $answer:literal)*) => {
        [$(Api {
            key: $key,
            name: $name,
            flexible: $flexible,
            newest: $newest,
            request: &const { layout::parse::<{ layout::count($request) }>($request) },
            answer: &const { layout::parse::<{ layout::count($answer) }>($answer) },
        }),*]
    };
}

/// By key: name, first flexible version (255: none), newest version, request, answer.
static APIS: [Api; 93] = apis! {
    0 "Produce" 9 13 "s3+ a i [ t-12 d13+ [ i x ] ]" "[ t-12 d13+ [ i e l l2+ l5+ [ i s ]8+ s8+ ] ] i1+"
    1 "Fetch" 12 18
        "i-14 i i i3+ b4+ i7+ i7+ [ t-12 d13+ [ i i9+ l i12+ l5+ i ] ] [ t-12 d13+ (i) ]7+ s11+"
        "i1+ e7+ i7+ [ t-12 d13+ [ i e l l4+ l5+ [ l l ]4+ i11+ x ] ]"
    2 "ListOffsets" 6 10 "i b2+ [ t [ i i4+ l i-0 ] ] i10+" "i2+ [ t [ i e (l)-0 l1+ l1+ i4+ ] ]"
    3 "Metadata" 9 13
        "[ d10+ t ] b4+ b8-10 b8+"
        "i3+ [ i s i s1+ ] s2+ i1+ [ e t d10+ b1+ [ e i i i7+ (i) (i) (i)5+ ] i8+ ] i8-10 e13+"
    4 "LeaderAndIsr" 4 7
        "i b7+ i l2+ b5+ [ t i i i i (i) i (i) b1+ ]-1 [ t d5+ [ i i i i (i) i (i) (i)3+ (i)3+ b b6+ ] ]2+ [ \
         i s i ]"
        "e [ t i e ]-4 [ d [ i e ] ]5+"
    5 "StopReplica" 2 4 "i b4+ i l1+ b-2 [ t i ]-0 [ t (i) ]1-2 [ t [ i i b ] ]3+" "e [ t i e ]"
    6 "UpdateMetadata" 6 8
        "i b8+ i l5+ [ t i i i i (i) i (i) (i)4+ ]-4 [ t d7+ [ i i i i (i) i (i) (i) ] ]5+ [ i s-0 i-0 [ i s \
         s3+ h ]1+ s2+ ]"
        "e"
    7 "ControlledShutdown" 3 3 "i l2+" "e [ t i ]"
    8 "OffsetCommit" 8 10 "g i1+ s1+ s7+ l2-4 [ t-9 d10+ [ i l i6+ l1 s ] ]" "i3+ [ t-9 d10+ [ i e ] ]"
    9 "OffsetFetch" 6 10
        "g-7 [ t (i) ]-7 [ g s9+ i9+ [ t-9 d10+ (i) ] ]8+ b7+"
        "i3+ [ t [ i l i5+ s e ] ]-7 e2-7 [ g [ t-9 d10+ [ i l i s e ] ] e ]8+"
    10 "FindCoordinator" 3 6 "s-3 b1+ (s)4+" "i1+ e-3 s1-3 i-3 s-3 i-3 [ s i s i e s ]4+"
    11 "JoinGroup" 6 9 "g i i1+ s s5+ s [ s x ] s8+" "i2+ e i s7+ s s b9+ s [ s s5+ x ]"
    12 "Heartbeat" 4 4 "g i s s3+" "i1+ e"
    13 "LeaveGroup" 4 5 "g s-2 [ s s s5+ ]3+" "i1+ e [ s s e ]3+"
    14 "SyncGroup" 4 5 "g i s s3+ s5+ s5+ [ s x ]" "i1+ e s5+ s5+ x"
    15 "DescribeGroups" 5 6 "(g) b3+" "i1+ [ e s6+ g s s s [ s s4+ s s x x ] i3+ ]"
    16 "ListGroups" 3 5 "(s)4+ (s)5+" "i1+ e [ g s s4+ s5+ ]"
    17 "SaslHandshake" 255 1 "s" "e (s)"
    18 "ApiVersions" 3 4 "s3+ s3+" "e [ h h h ] i1+"
    19 "CreateTopics" 5 7 "[ t i h [ i (i) ] [ s s ] ] i b1+" "i2+ [ t d7+ e s1+ i5+ h5+ [ s s b b b ]5+ ]"
    20 "DeleteTopics" 4 6 "[ t d ]6+ (t)-5 i" "i1+ [ t d6+ e s5+ ]"
    21 "DeleteRecords" 2 2 "[ t [ i l ] ] i" "i [ t [ i l e ] ]"
    22 "InitProducerId" 2 6 "s i l3+ h3+ b6+ b6+" "i e l h l6+ h6+"
    23 "OffsetForLeaderEpoch" 4 4 "i3+ [ t [ i i2+ i ] ]" "i2+ [ t [ e i i1+ l ] ]"
    24 "AddPartitionsToTxn" 3 5
        "[ s l h b [ t (i) ] ]4+ s-3 l-3 h-3 [ t (i) ]-3"
        "i e4+ [ s [ t [ i e ] ] ]4+ [ t [ i e ] ]-3"
    25 "AddOffsetsToTxn" 3 4 "s l h g" "i e"
    26 "EndTxn" 3 5 "s l h b" "i e l5+ h5+"
    27 "WriteTxnMarkers" 1 1 "[ l h b [ t (i) ] i ]" "[ l [ t [ i e ] ] ]"
    28 "TxnOffsetCommit" 3 5 "s g l h i3+ s3+ s3+ [ t [ i l i2+ s ] ]" "i [ t [ i e ] ]"
    29 "DescribeAcls" 2 3 "b s b1+ s s b b" "i e s [ k n b1+ [ s s b b ] ]"
    30 "CreateAcls" 2 3 "[ k n b1+ s s b b ]" "i [ e s ]"
    31 "DeleteAcls" 2 3 "[ b s b1+ s s b b ]" "i [ e s [ e s k n b1+ s s b b ] ]"
    32 "DescribeConfigs" 4 4 "[ k n (s) ] b1+ b3+" "i [ e s k n [ s s b b-0 b1+ b [ s s b ]1+ b3+ s3+ ] ]"
    33 "AlterConfigs" 2 2 "[ k n [ s s ] ] b" "i [ e s k n ]"
    34 "AlterReplicaLogDirs" 2 2 "[ s [ t (i) ] ]" "i [ t [ i e ] ]"
    35 "DescribeLogDirs" 2 4 "[ t (i) ]" "i e3+ [ e s [ t [ i l l b ] ] l4+ l4+ ]"
    36 "SaslAuthenticate" 2 2 "x" "e s x l1+"
    37 "CreatePartitions" 2 3 "[ t i [ (i) ] ] i b" "i [ t e s ]"
    38 "CreateDelegationToken" 2 3 "s3+ s3+ [ s s ] l" "e s s s3+ s3+ l l l s x i"
    39 "RenewDelegationToken" 2 2 "x l" "e l i"
    40 "ExpireDelegationToken" 2 2 "x l" "e l i"
    41 "DescribeDelegationToken" 2 3 "[ s s ]" "e [ s s s3+ s3+ l l l s x [ s s ] ] i"
    42 "DeleteGroups" 2 2 "(g)" "i [ g e ]"
    43 "ElectLeaders" 2 2 "b1+ [ t (i) ] i" "i e1+ [ t [ i e s ] ]"
    44 "IncrementalAlterConfigs" 1 1 "[ k n [ s b s ] ] b" "i [ e s k n ]"
    45 "AlterPartitionReassignments" 0 1 "i b1+ [ t [ i (i) ] ]" "i b1+ e s [ t [ i e s ] ]"
    46 "ListPartitionReassignments" 0 0 "i [ t (i) ]" "i e s [ t [ i (i) (i) (i) ] ]"
    47 "OffsetDelete" 255 0 "g [ t [ i ] ]" "e i [ t [ i e ] ]"
    48 "DescribeClientQuotas" 1 1 "[ s b s ] b" "i e s [ [ s s ] [ s l ] ]"
    49 "AlterClientQuotas" 1 1 "[ [ s s ] [ s l b ] ] b" "i [ e s [ s s ] ]"
    50 "DescribeUserScramCredentials" 0 0 "[ s ]" "i e s [ s e s [ b i ] ]"
    51 "AlterUserScramCredentials" 0 0 "[ s b ] [ s b i x x ]" "i [ s e s ]"
    52 "Vote" 0 2 "s i1+ [ t [ i i i u1+ u1+ i l b2+ ] ]" "e [ t [ i e i i b ] ]"
    53 "BeginQuorumEpoch" 1 1 "s i1+ [ t [ i u1+ i i ] ] [ s s h ]1+" "e [ t [ i e i i ] ]"
    54 "EndQuorumEpoch" 1 1 "s [ t [ i i i (i)-0 [ i u ]1+ ] ] [ s s h ]1+" "e [ t [ i e i i ] ]"
    55 "DescribeQuorum" 0 2
        "[ t [ i ] ]"
        "e s2+ [ t [ i e s2+ i i l [ i u2+ l l1+ l1+ ] [ i u2+ l l1+ l1+ ] ] ] [ i [ s s h ] ]2+"
    56 "AlterPartition" 0 3
        "i l [ t-1 d2+ [ i i (i)-2 [ i l ]3+ b1+ i ] ]"
        "i e [ t-1 d2+ [ i e i i (i) b1+ i ] ]"
    57 "UpdateFeatures" 0 2 "i [ s h b-0 b1+ ] b1+" "i e s [ s e s ]-1"
    58 "Envelope" 0 0 "x x x" "x e"
    59 "FetchSnapshot" 0 1 "i i [ t [ i i { l i } l ] ]" "i e [ t [ i e { l i } l l x ] ]"
    60 "DescribeCluster" 0 2 "b b1+ b2+" "i e s b1+ s i [ i s i s b2+ ] i"
    61 "DescribeProducers" 0 0 "[ t (i) ]" "i [ t [ i e s [ l i i l i l ] ] ]"
    62 "BrokerRegistration" 0 4 "i s u [ s s h h ] [ s h h ] s b1+ (u)2+ l3+" "i e l"
    63 "BrokerHeartbeat" 0 1 "i l l b b" "i e b b b"
    64 "UnregisterBroker" 0 0 "i" "i e s"
    65 "DescribeTransactions" 0 0 "(s)" "i [ e s s i l l h [ t (i) ] ]"
    66 "ListTransactions" 0 2 "(s) (l) l1+ s2+" "i e (s) [ s l s ]"
    67 "AllocateProducerIds" 0 0 "i l" "i e l i"
    68 "ConsumerGroupHeartbeat" 0 1 "g s i s s i (t) s1+ s [ d (i) ]" "i e s s i i < [ d (i) ] >"
    69 "ConsumerGroupDescribe" 0 1
        "(g) b"
        "i [ e s g s i i s [ s s s i s s (t) s { [ d t (i) ] } { [ d t (i) ] } b1+ ] i ]"
    70 "ControllerRegistration" 0 0 "i u b [ s s h h ] [ s h h ]" "i e s"
    71 "GetTelemetrySubscriptions" 0 0 "u" "i e u i (b) i i b (s)"
    72 "PushTelemetry" 0 0 "u i b b x" "i e"
    73 "AssignReplicasToDirs" 0 0 "i l [ u [ d [ i ] ] ]" "i e [ u [ d [ i e ] ] ]"
    74 "ListConfigResources" 0 1 "(b)1+" "i e [ n k1+ ]"
    75 "DescribeTopicPartitions" 0 0
        "[ t ] i < t i >"
        "i [ e t d b [ e i i i (i) (i) (i) (i) (i) ] i ] < t i >"
    76 "ShareGroupHeartbeat" 0 1 "g s i s (t)" "i e s s i i < [ d (i) ] >"
    77 "ShareGroupDescribe" 0 1 "(g) b" "i [ e s g s i i s [ s s i s s (t) { [ d t (i) ] } ] i ]"
    78 "ShareFetch" 0 1
        "g s i i i i i1+ i1+ [ d [ i i-0 [ l l (b) ] ] ] [ d (i) ]"
        "i e s i1+ [ d [ i e s e s { i i } x [ l l h ] ] ] [ i s i s ]"
    79 "ShareAcknowledge" 0 1 "g s i [ d [ i [ l l (b) ] ] ]" "i e s [ d [ i e s { i i } ] ] [ i s i s ]"
    80 "AddRaftVoter" 0 0 "s i i u [ s s h ]" "i e s"
    81 "RemoveRaftVoter" 0 0 "s i u" "i e s"
    82 "UpdateRaftVoter" 0 0 "s i i u [ s s h ] { h h }" "i e"
    83 "InitializeShareGroupState" 0 0 "s [ d [ i i l ] ]" "[ d [ i e s ] ]"
    84 "ReadShareGroupState" 0 0 "s [ d [ i i ] ]" "[ d [ i e s i l [ l l b h ] ] ]"
    85 "WriteShareGroupState" 0 0 "s [ d [ i i i l [ l l b h ] ] ]" "[ d [ i e s ] ]"
    86 "DeleteShareGroupState" 0 0 "s [ d [ i ] ]" "[ d [ i e s ] ]"
    87 "ReadShareGroupStateSummary" 0 0 "s [ d [ i i ] ]" "[ d [ i e s i i l ] ]"
    88 "StreamsGroupHeartbeat" 0 0
        "g s i i s s i < i [ s (t) (s) [ t i h [ s s ] ] (t) [ t i h [ s s ] ] [ (h) (h) (h) ] ] > [ s (i) ] \
         [ s (i) ] [ s (i) ] s < s h > [ s s ] [ s i l ] [ s i l ] b"
        "i e s s i i i i [ b s ] [ s (i) ] [ s (i) ] [ s (i) ] i [ { s h } [ t (i) ] [ t (i) ] ]"
    89 "StreamsGroupDescribe" 0 0
        "(g) b"
        "i [ e s g s i i < i [ s (t) (t) [ t i h [ s s ] ] [ t i h [ s s ] ] ] > [ s i s s s s i s < s h > [ \
         s s ] [ s i l ] [ s i l ] { [ s (i) ] [ s (i) ] [ s (i) ] } { [ s (i) ] [ s (i) ] [ s (i) ] } b ] i \
         ]"
    90 "DescribeShareGroupOffsets" 0 0 "[ g [ t (i) ] ]" "i [ g [ t d [ i l i e s ] ] e s ]"
    91 "AlterShareGroupOffsets" 0 0 "g [ t [ i l ] ]" "i e s [ t d [ i e s ] ]"
    92 "DeleteShareGroupOffsets" 0 0 "g [ t ]" "i e s [ t d e s ]"
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_places() {
        for (place, api) in APIS.iter().enumerate() {
            assert_eq!(
                (usize::try_from(api.key), api.request.len() < 128),
                (Ok(place), true),
                "{}",
                api.name
            );
        }
        assert_eq!(Api::of(CONTROLLED_SHUTDOWN).map(|api| api.name), Some("ControlledShutdown"));
        assert!(Api::of(-1).is_none() && Api::of(93).is_none());
    }
}
