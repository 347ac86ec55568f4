import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.MethodConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.dubbo.rpc.RpcException;
import org.apache.dubbo.rpc.service.GenericService;

/**
 * Dubbo 2: a provider that prints each call before it answers, and a consumer of it.
 *
 * <p>java Dubbo.java PORT CANARY WHAT SERIALIZATION with WHAT one of serve, work, stay (works when a line comes in), sleep (calls
 * what takes ten minutes). A consumer prints as JSON how many calls it made that do not reach the service, and how many
 * that name the method as an argument.
 */
public class Dubbo {
    /** The service. */
    public interface Orders {
        String get(long id, String name);

        List<Map<String, Object>> all(int count);

        void put(Map<String, Object> order);

        void note(String text);

        String refuse(String why) throws Refused;

        String fail(String why);

        String slow(String why, int milliseconds);
    }

    /** A service that nobody provides. */
    public interface Nowhere {
        String get(String name);
    }

    /** An exception that the service declares. */
    public static class Refused extends Exception {
        public Refused(String why) {
            super(why);
        }
    }

    /** The service as it is provided. */
    public static class Shop implements Orders {
        public String get(long id, String name) {
            return name + id;
        }

        public List<Map<String, Object>> all(int count) {
            return new ArrayList<>(Collections.nCopies(count, order(1)));
        }

        public void put(Map<String, Object> order) {}

        public void note(String text) {}

        public String refuse(String why) throws Refused {
            throw new Refused(why);
        }

        public String fail(String why) {
            throw new IllegalStateException(why);
        }

        public String slow(String why, int milliseconds) {
            System.out.println("asleep");
            try {
                Thread.sleep(milliseconds);
            } catch (InterruptedException error) {
                throw new IllegalStateException(error);
            }
            return why;
        }
    }

    /** 127.0.0.1 as a number: every other form of it Dubbo replaces by an address of the network. */
    static final String LOOPBACK = "2130706433";

    static String canary;

    static Map<String, Object> order(int size) {
        Map<String, Object> order = new HashMap<>();
        order.put("name", canary.repeat(size));
        order.put(canary, new ArrayList<>(List.of(canary, canary)));
        return order;
    }

    static ApplicationConfig application() {
        ApplicationConfig application = new ApplicationConfig("lab");
        application.setQosEnable(false);
        application.setEnableFileCache(false);
        // A consumer listens nowhere.
        application.setRegisterConsumer(false);
        return application;
    }

    static void serve(int port, String serialization) {
        Orders shop = new Shop();
        Object counting = Proxy.newProxyInstance(Dubbo.class.getClassLoader(), new Class<?>[] {Orders.class}, (proxy, method, values) -> {
            if (method.getDeclaringClass() == Orders.class) {
                System.out.println("served " + method.getName());
            }
            try {
                return method.invoke(shop, values);
            } catch (InvocationTargetException error) {
                throw error.getCause();
            }
        });
        ProtocolConfig protocol = new ProtocolConfig("dubbo", port);
        protocol.setHost(LOOPBACK);
        protocol.setSerialization(serialization);
        protocol.setPreferSerialization(serialization);
        ServiceConfig<Orders> service = new ServiceConfig<>();
        service.setInterface(Orders.class);
        service.setRef((Orders) counting);
        service.setVersion("1.0");
        DubboBootstrap.getInstance().application(application()).registry(new RegistryConfig("N/A")).protocol(protocol)
                .service(service).start().await();
    }

    static <T> ReferenceConfig<T> reference(Class<T> kind, int port, String serialization) {
        ReferenceConfig<T> reference = new ReferenceConfig<>();
        reference.setInterface(kind);
        reference.setVersion("1.0");
        reference.setRetries(0);
        reference.setTimeout(60_000);
        reference.setCheck(false);
        reference.setUrl("dubbo://" + LOOPBACK + ":" + port + "?serialization=" + serialization + "&prefer.serialization=" + serialization);
        return reference;
    }

    static void check(boolean good, String what) {
        if (!good) {
            throw new IllegalStateException(what);
        }
    }

    static void secret() {
        RpcContext.getClientAttachment().setAttachment("secret", canary);
    }

    static void work(Orders orders, int rounds) throws Exception {
        for (int number = 0; number < rounds; number++) {
            secret();
            check(orders.get(number, canary).equals(canary + number), "get");
            orders.put(order(1));
            check(orders.all(number % 5).size() == number % 5, "all");
            secret();
            orders.note(canary);
        }
        for (int number = 0; number < 3; number++) {
            try {
                orders.refuse(canary);
                throw new IllegalStateException("it was not refused");
            } catch (Refused error) {
                check(error.getMessage().equals(canary), "refused");
            }
            try {
                orders.fail(canary);
                throw new IllegalArgumentException("it did not fail");
            } catch (IllegalStateException error) {
                check(error.getMessage().equals(canary), "failed");
            }
            orders.put(order(20_000));
            check(orders.all(500).size() == 500, "all");
        }
        // Many at once on one connection.
        ExecutorService pool = Executors.newFixedThreadPool(10);
        List<Future<?>> calls = new ArrayList<>();
        for (int number = 0; number < 200; number++) {
            long id = number;
            calls.add(pool.submit(() -> orders.get(id, canary)));
        }
        for (Future<?> call : calls) {
            call.get();
        }
        pool.shutdown();
        check(orders.slow(canary, 1000).equals(canary), "slow");
    }

    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        canary = arguments[1];
        String what = arguments[2];
        String serialization = arguments[3];
        if (what.equals("serve")) {
            serve(port, serialization);
            return;
        }
        DubboBootstrap.getInstance().application(application()).registry(new RegistryConfig("N/A"));
        ReferenceConfig<Orders> reference = reference(Orders.class, port, serialization);
        // Nobody answers a note.
        MethodConfig note = new MethodConfig();
        note.setName("note");
        note.setReturn(false);
        reference.setMethods(List.of(note));
        Orders orders = reference.get();
        orders.get(-1, canary);
        if (what.equals("sleep")) {
            orders.slow(canary, 600_000);
        }
        if (what.equals("stay")) {
            System.out.println("ready");
            System.in.read();
            work(orders, 20);
            System.exit(0);
        }
        work(orders, 30);
        ReferenceConfig<GenericService> generic = reference(GenericService.class, port, serialization);
        generic.setInterface(Orders.class.getName());
        generic.setGeneric("true");
        for (int number = 0; number < 3; number++) {
            Object found = generic.get().$invoke("get", new String[] {"long", "java.lang.String"}, new Object[] {7L, canary});
            check(found.equals(canary + 7), "generic");
        }
        int lost = 0;
        Nowhere nowhere = reference(Nowhere.class, port, serialization).get();
        for (int number = 0; number < 3; number++) {
            try {
                nowhere.get(canary);
                throw new IllegalStateException("somebody provides it");
            } catch (RpcException error) {
                lost++;
            }
        }
        System.out.println("{\"lost\": " + lost + ", \"generic\": 3}");
        System.exit(0);
    }
}
