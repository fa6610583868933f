import time
c=time.process_time
t=c(); import genai_prices.data_snapshot; print('import',c()-t)
t=c(); s=genai_prices.data_snapshot.get_snapshot(); print('snapshot',c()-t)
t=c(); s.find_provider_model('gpt-4o',None,'openai',None); print('find',c()-t)
t=c(); sum(1 for i in range(1_000_000)); print('ref 1M loop', c()-t)
import cycles
from cycles._metering.usage import Usage
p=cycles.Prices(); u=Usage(input_tokens=1000,output_tokens=10)
p.cost("openai","gpt-4o",u)
t=c()
for _ in range(10000): p.cost("openai","gpt-4o",u)
print((c()-t)/10000*1e6,"us")
import cProfile; cProfile.run('for _ in range(3000): p.cost("openai","gpt-4o",u)',sort='tottime')
