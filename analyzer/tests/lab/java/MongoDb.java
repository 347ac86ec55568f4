import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import de.bwaldvogel.mongo.exception.MongoServerException;
import io.netty.channel.Channel;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * A server of MongoDB's protocol, in memory, which prints each command with the code of its error, or 0, before it answers.
 * A query of the collection `sleep` takes ten minutes.
 *
 * <p>java MongoDb.java PORT
 */
class MongoDb extends MemoryBackend {
    /** A version that today's drivers accept. */
    record Version() implements MongoVersion {
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0, 0);
        }

        public int getWireVersion() {
            return 13;
        }
    }

    @Override
    public Document handleCommand(Channel channel, String database, String command, Document query) {
        int code = 0;
        if ("sleep".equals(query.get(command))) {
            System.out.println("asleep");
            LockSupport.parkNanos(TimeUnit.MINUTES.toNanos(10));
        }
        try {
            Document answer = super.handleCommand(channel, database, command, query);
            if (answer != null && answer.get("ok") instanceof Number ok && ok.intValue() == 0) {
                code = answer.get("code") instanceof Number number ? number.intValue() : -1;
            }
            return answer;
        } catch (MongoServerError error) {
            code = error.getCode();
            throw error;
        } catch (MongoServerException error) {
            code = -1;
            throw error;
        } finally {
            System.out.println("served " + command + " " + code);
        }
    }

    public static void main(String[] arguments) {
        MongoDb backend = new MongoDb();
        backend.version(new Version());
        new MongoServer(backend).bind("127.0.0.1", Integer.parseInt(arguments[0]));
    }
}
